import CLinux
import FSRing
import Glibc

/// The command line's end of the control socket.
struct ControlClient {
  private let socket: Descriptor

  /// Connects to the daemon in a runtime directory.
  init(_ paths: RuntimePaths) throws {
    do throws(SystemError) {
      socket = try ControlSocket.connect(to: paths.socket)
    } catch {
      switch error.code {
      case ENOENT, ECONNREFUSED, ENOTDIR:
        throw Failure("no daemon is running in \(paths.directory); start one with 'fsd start'")
      default:
        throw Failure("cannot reach the daemon: \(error)")
      }
    }
  }

  /// Sends a request and waits for its reply, of which the text is returned.
  func request(_ kind: ControlKind) throws -> String {
    try ControlPacket(message: ControlMessage(kind, request: 1)).send(to: socket.number)
    waitForInput()
    let size = recv(
      socket.number, nil, 0, Int32(MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT))
    let textLimit = max(0, size - ControlMessage.size)
    guard
      case .packet(let packet) = ControlPacket.receive(from: socket.number, textLimit: textLimit)
    else { throw Failure("the daemon ended before it replied") }
    let status = packet.message.status
    if status == EPERM, kind == .stop {
      throw Failure("only root, or the user who started the daemon, may stop it")
    }
    guard status == 0 else { throw Failure("the daemon replied: \(SystemError.text(of: status))") }
    return String(decoding: packet.text, as: UTF8.self)
  }

  /// Waits until the daemon's process has closed the connection.
  func waitForEnd() {
    while true {
      waitForInput()
      if case .end = ControlPacket.receive(from: socket.number) { return }
    }
  }

  private func waitForInput() {
    var entry = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
    while unsafe poll(&entry, 1, -1) == -1 && errno == EINTR {}
  }
}
