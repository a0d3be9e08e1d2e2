// swift-tools-version: 6.2
import PackageDescription

/// Rules of the house for every Swift target: unsafe code must say so.
let strict: [SwiftSetting] = [
  .enableExperimentalFeature("Lifetimes"),
  .strictMemorySafety(),
]

/// Sanitizers cannot instrument Embedded Swift; `FS_NO_SHIM=1` leaves the shim out of such builds.
let withShim = Context.environment["FS_NO_SHIM"] == nil

var products: [Product] = [
  .executable(name: "fsd", targets: ["fsd"])
]

var targets: [Target] = [
  // What both sides of the shared memory compile.
  .target(name: "FSRing", swiftSettings: strict),

  // The TCP/IP engine. Sans-IO: no system call, clock, thread or random source of its own.
  .target(name: "FSStack", dependencies: ["CProcessor", "FSRing"], swiftSettings: strict),
  .target(name: "CProcessor"),

  // GNU-only declarations that `import Glibc` leaves out.
  .target(name: "CLinux"),
  .systemLibrary(
    name: "CXDP", pkgConfig: "libxdp",
    providers: [.apt(["libxdp-dev", "libbpf-dev", "libelf-dev", "zlib1g-dev"])]),

  // AF_XDP sockets, the XDP program, ethtool and rtnetlink.
  .target(
    name: "FSDevice", dependencies: ["CProcessor", "CXDP", "FSStack"],
    swiftSettings: strict, plugins: ["EmbedBPF"]),
  .executableTarget(name: "bpf-embed"),
  .plugin(name: "EmbedBPF", capability: .buildTool(), dependencies: ["bpf-embed"]),

  .executableTarget(
    name: "fsd",
    dependencies: [
      "CLinux", "FSDevice", "FSRing", "FSStack",
      .product(name: "ArgumentParser", package: "swift-argument-parser"),
    ],
    swiftSettings: strict),

  .testTarget(name: "FSRingTests", dependencies: ["FSRing"]),
  .testTarget(name: "FSStackTests", dependencies: ["CLaboratory", "FSStack", "FSRing"]),
  // The parts of the shim that need no system call, compiled in through a symlink: an Embedded module
  // cannot be imported.
  .testTarget(name: "FSShimTests"),
  .testTarget(name: "FSDeviceTests", dependencies: ["CardModel", "FSDevice", "FSStack"]),
  // What a network card with Flow Director answers to ethtool.
  .target(name: "CardModel", path: "Tests/CardModel"),
  .testTarget(
    name: "fsdTests", dependencies: ["CLinux", "fsd", "FSRing", "FSStack"], exclude: ["Topologies"]),

  // Network namespaces and the programs in them, for integration tests, demonstration and benchmark.
  .target(name: "CLaboratory"),
  .target(name: "Laboratory", dependencies: ["CLaboratory"], swiftSettings: strict),
  .executableTarget(name: "fs-demo", dependencies: ["Laboratory"], swiftSettings: strict),
  .executableTarget(
    name: "fs-bench", dependencies: ["CLaboratory", "Laboratory"], path: "Benchmarks/fs-bench",
    swiftSettings: strict),
  .executableTarget(
    name: "fs-load",
    dependencies: [
      "CLaboratory", "FSDevice", "FSRing", "FSStack", "Laboratory",
      .product(name: "ArgumentParser", package: "swift-argument-parser"),
    ], path: "Benchmarks/fs-load", swiftSettings: strict),
  .testTarget(name: "fsLoadTests", dependencies: ["fs-load", "Laboratory"]),
  .executableTarget(
    name: "fs-echo", path: "Benchmarks/fs-echo", cSettings: [.unsafeFlags(["-O2"])]),
  .testTarget(name: "IntegrationTests", dependencies: ["Laboratory"]),
  // The engine alone, in memory.
  .executableTarget(
    name: "fs-engine", dependencies: ["CLinux", "FSRing", "FSStack"], path: "Benchmarks/fs-engine",
    swiftSettings: strict),

  // Which requirement is met by which code and shown by which test.
  .executableTarget(name: "traceability"),
  .testTarget(name: "traceabilityTests", dependencies: ["traceability"]),
]

if withShim {
  products.append(.library(name: "fsocket", type: .dynamic, targets: ["FSShim", "CShim"]))
  targets += [
    // The interposed libc symbols, and what Embedded Swift needs from libc.
    .target(name: "CShim", cSettings: [.unsafeFlags(["-O2", "-fvisibility=hidden"])]),
    // Embedded Swift: no runtime, no allocation. FSRing is compiled in through a symlink, because an
    // Embedded module cannot import one that is not.
    .target(
      name: "FSShim", dependencies: ["CShim"], exclude: ["libfsocket.map"],
      swiftSettings: [
        .enableExperimentalFeature("Embedded"),
        .enableExperimentalFeature("Lifetimes"),
        .unsafeFlags(["-wmo", "-no-allocations"]),
      ],
      linkerSettings: [
        .unsafeFlags([
          "-enable-experimental-feature", "Embedded",
          "-Xlinker",
          "--version-script=\(Context.packageDirectory)/Sources/FSShim/libfsocket.map",
          "-Xlinker", "-z", "-Xlinker", "defs", "-Xlinker", "-z", "-Xlinker", "now",
        ])
      ]),
  ]
}

/// `make fuzz`: libFuzzer needs a build of its own, with its instrumentation in every module.
if Context.environment["FS_FUZZ"] != nil {
  targets += [
    .target(name: "CFuzzer", path: "Tests/Fuzzing/CFuzzer"),
    .executableTarget(
      name: "fs-fuzz", dependencies: ["CFuzzer", "FSRing", "FSStack"], path: "Tests/Fuzzing",
      exclude: ["CFuzzer", "Corpus"], sources: ["Driver", "Targets"]),
  ]
}

/// `make scaling`: the model of the tests in a program of its own, which needs a build with testing enabled.
if Context.environment["FS_SCALING"] != nil {
  targets += [
    .target(name: "CIsolation", path: "Benchmarks/CIsolation"),
    .executableTarget(
      name: "fs-scaling",
      dependencies: ["CIsolation", "CLaboratory", "FSRing", "FSStack", "Laboratory"],
      path: "Benchmarks/fs-scaling"),
  ]
}

/// `FS_SCOPE=engine`: the engine and its tests alone, for quick turns of who works on them.
/// `FS_SCOPE=swarm`: the engine and what `make simulate` runs; all its tests would take minutes to optimize.
if let scope = Context.environment["FS_SCOPE"] {
  var scoped = ["CLaboratory", "CLinux", "CProcessor", "FSRing", "FSStack", "FSStackTests"]
  if scope == "engine" {
    scoped += ["FSRingTests", "fs-engine", "traceability", "traceabilityTests"]
  } else {
    targets.first { $0.name == "FSStackTests" }?.sources = [
      "Congestion/ReferenceLinkTests.swift", "Simulation", "Support", "Swarm",
    ]
  }
  targets.removeAll { !scoped.contains($0.name) }
  products = []
}

let package = Package(
  name: "fastsocket",
  products: products,
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
  ],
  targets: targets)
