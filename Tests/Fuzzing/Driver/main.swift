import CFuzzer
import Glibc

// fs-fuzz TARGET [libFuzzer's options and corpus folders]

nonisolated(unsafe) var chosen: FuzzTarget?

let arguments = CommandLine.arguments
guard arguments.count > 1, let target = FuzzTarget(rawValue: arguments[1]) else {
  let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: "|")
  print("usage: fs-fuzz \(names) [libFuzzer's options] [corpus]")
  exit(64)
}
chosen = target
// libFuzzer reads the rest as its own command line.
var values: [UnsafeMutablePointer<CChar>?] = ([arguments[0]] + arguments.dropFirst(2)).map {
  strdup($0)
}
var count = Int32(values.count)
values.append(nil)
values.withUnsafeMutableBufferPointer { buffer in
  var base = buffer.baseAddress
  exit(
    LLVMFuzzerRunDriver(&count, &base) { data, size in
      chosen?.run(UnsafeRawBufferPointer(start: data, count: size))
      return 0
    })
}
