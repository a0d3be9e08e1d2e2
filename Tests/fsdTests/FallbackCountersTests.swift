import Foundation
import Testing

@testable import fsd

@Suite struct FallbackCountersTests {
  @Test func theFirstMappingOfTheLibraryIsItsBeginning() throws {
    let maps = """
      55d0c0a00000-55d0c0a28000 r--p 00000000 08:01 131 /usr/bin/cat
      7f10a0000000-7f10a0003000 r-xp 00004000 08:01 77 /opt/fs/lib/libfsocket.so
      7f10a0100000-7f10a0104000 r--p 00000000 08:01 77 /opt/fs/lib/libfsocket.so (deleted)
      7f10a0200000-7f10a0204000 rw-p 00000000 00:00 0
      """
    let found = try #require(FallbackCounters.library(inMaps: maps))
    #expect(found.start == 0x7f10_a010_0000)
    #expect(found.range == "7f10a0100000-7f10a0104000")
    let without = "00400000-00452000 r-xp 00000000 08:02 1 /bin/cat"
    #expect(FallbackCounters.library(inMaps: without) == nil)
  }

  @Test func entriesAreReadAsTheyStand() {
    var bytes = Array("listen: with an option".utf8)
    bytes += [UInt8](repeating: 0, count: 120 - bytes.count) + [2, 1, 0, 0, 0, 0, 0, 0]
    bytes += [UInt8](repeating: 0, count: 128)
    let entries = FallbackCounters.entries(in: bytes + [1, 2, 3])
    #expect(
      entries == [
        .init(reason: "listen: with an option", count: 258), .init(reason: "", count: 0),
      ])
    #expect(FallbackCounters.entries(in: []) == [])
  }

  @Test func sectionsOfAnELFFileAreFound() throws {
    let own = ELFSections(try BinaryFile("/proc/self/exe"))
    let text = try #require(own.section(".text"))
    #expect(text.size > 1000)
    #expect(own.section(".no.such.section") == nil)
  }

  @Test func whatIsNoELFFileHasNoSections() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("fsd-\(getpid()).elf")
    defer { try? FileManager.default.removeItem(at: path) }
    var header: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1]
    header += [UInt8](repeating: 0xff, count: 58)
    for bytes in [[], Array("#!/bin/sh\n".utf8), header] {
      try Data(bytes).write(to: path)
      #expect(ELFSections(try BinaryFile(path.path)).section(".text") == nil)
    }
  }

  @Test func aProcessWithoutTheLibrarySaysSo() {
    #expect(throws: Failure.self) { try FallbackCounters(process: getpid()) }
    #expect(throws: Failure.self) { try FallbackCounters(process: Int32.max) }
  }
}
