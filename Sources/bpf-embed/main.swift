// bpf-embed CLANG SOURCE OUTPUT: compiles a BPF program and writes it as a Swift array of bytes.
import Foundation

/// What went wrong, in one sentence.
struct Failure: Error {
  var message: String
}

/// Runs a tool and waits for it.
func run(_ tool: String, _ arguments: [String]) throws {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: tool)
  process.arguments = arguments
  try process.run()
  process.waitUntilExit()
  guard process.terminationStatus == 0 else {
    throw Failure(message: "\(tool) ended with status \(process.terminationStatus)")
  }
}

/// The directory of <asm/types.h>, which Debian keeps apart for each architecture.
func architectureHeaders() throws -> String {
  #if arch(x86_64)
    let directory = "/usr/include/x86_64-linux-gnu"
  #elseif arch(arm64)
    let directory = "/usr/include/aarch64-linux-gnu"
  #else
    let directory = "/usr/include"
  #endif
  return FileManager.default.fileExists(atPath: directory) ? directory : "/usr/include"
}

/// Compiles `source` into the bytes of an ELF object.
func compile(clang: String, source: String, scratch: String) throws -> Data {
  let object = scratch + "/program.o"
  try run(
    clang,
    [
      "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror",
      "-idirafter", try architectureHeaders(), "-c", source, "-o", object,
    ])
  // libbpf needs the BTF that -g brings, not the DWARF, which is half of the object.
  let objcopy = URL(fileURLWithPath: clang).deletingLastPathComponent().path + "/llvm-objcopy"
  if FileManager.default.isExecutableFile(atPath: objcopy) {
    try run(objcopy, ["--strip-debug", object])
  }
  return try Data(contentsOf: URL(fileURLWithPath: object))
}

/// The bytes as Swift source.
func swiftSource(_ object: Data, origin: String) -> String {
  var lines = ["/// \(origin), compiled.", "let xdpObject: [UInt8] = ["]
  var rest = object[...]
  while !rest.isEmpty {
    lines.append("  " + rest.prefix(24).map { "\($0)," }.joined(separator: " "))
    rest = rest.dropFirst(24)
  }
  lines.append("]")
  return lines.joined(separator: "\n") + "\n"
}

/// The whole job.
func main(_ arguments: [String]) throws {
  guard arguments.count == 4 else {
    throw Failure(message: "usage: bpf-embed CLANG SOURCE OUTPUT")
  }
  let output = URL(fileURLWithPath: arguments[3])
  let scratch = output.deletingLastPathComponent().path
  try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
  let object = try compile(clang: arguments[1], source: arguments[2], scratch: scratch)
  let origin = URL(fileURLWithPath: arguments[2]).lastPathComponent
  try swiftSource(object, origin: origin).write(to: output, atomically: true, encoding: .utf8)
}

do {
  try main(CommandLine.arguments)
} catch let failure as Failure {
  FileHandle.standardError.write(Data("bpf-embed: \(failure.message)\n".utf8))
  exit(1)
}
