import CXDP
import Glibc

/// Page-aligned memory for frames.
@safe
final class FrameMemory {
  let base: UnsafeMutableRawPointer
  let size: Int
  private var isMapped = true

  /// Maps memory whose pages are taken from a NUMA node as long as that has any: the kernel touches them
  /// when the socket is opened, which is not on the engine's processor.
  init(size: Int, node: Int? = nil, for subject: String) throws(DeviceError) {
    let mapped = unsafe mmap(
      nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let start = unsafe mapped, unsafe start != MAP_FAILED else {
      throw .last("map AF_XDP memory for", subject)
    }
    unsafe base = unsafe start
    self.size = size
    // Without it, as in a sandbox that forbids the call, the pages are merely farther away.
    if let node { _ = unsafe fs_prefer_node(start, size, Int32(node)) }
    // Fewer TLB misses where the system offers huge pages; no matter where it does not.
    _ = unsafe madvise(start, size, MADV_HUGEPAGE)
  }

  deinit { unmap() }

  func unmap() {
    if isMapped { _ = unsafe munmap(base, size) }
    isMapped = false
  }
}
