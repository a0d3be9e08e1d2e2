import PackagePlugin

/// Compiles the XDP program with the toolchain's clang and hands it to the target as a Swift array,
/// so that a build needs no second compiler and an installed daemon no file beside it.
@main
struct EmbedBPF: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: Target) throws -> [Command] {
    let source = context.package.directoryURL.appending(path: "bpf/fastsocket.bpf.c")
    let output = context.pluginWorkDirectoryURL.appending(path: "XDPObject.swift")
    return [
      .buildCommand(
        displayName: "Compiling the XDP program",
        executable: try context.tool(named: "bpf-embed").url,
        arguments: [
          try context.tool(named: "clang").url.path(percentEncoded: false),
          source.path(percentEncoded: false), output.path(percentEncoded: false),
        ],
        inputFiles: [source],
        outputFiles: [output])
    ]
  }
}
