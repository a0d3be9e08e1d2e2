import ArgumentParser

/// The command line.
@main
struct FSD: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fsd",
    abstract: "Serves unmodified applications with TCP engines in user space, over AF_XDP.",
    discussion: """
      Start the daemon on a network interface, run applications under it, and look at what it does:

        fsd start --iface eth0
        fsd run -- nginx
        fsd stats --watch
      """,
    subcommands: [Start.self, Stop.self, Status.self, Stats.self, Run.self])
}
