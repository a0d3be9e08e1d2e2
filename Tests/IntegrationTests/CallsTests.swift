import Laboratory
import Testing

extension Integration {
  /// What the calls that move bytes answer, against the kernel on the same interface and with the same
  /// peer.
  @Suite(.network()) struct Calls {
    /// Random sequences of them: results, errors, bytes, signals, offsets.
    @Test(arguments: [1, 2, 3])
    func answerAsTheKernelDoes(_ seed: Int) throws { try compare(seed, steps: 300) }

    /// The same for 20,000 operations.
    @Test(.enabled(if: Tier.isEverything, "make test-all"), arguments: 11...30)
    func answerAsTheKernelDoesForLong(_ seed: Int) throws { try compare(seed, steps: 1000) }

    /// Calls on sockets that are not connected, and what becomes of the next ones.
    @Test(arguments: [AddressFamily.ipv4, .ipv6])
    func unconnectedSockets(_ family: AddressFamily) throws {
      try runModel("unconnected-model", family, connections: 1)
    }

    /// The program begins a new connection with every 40th step.
    private func compare(_ seed: Int, steps: Int) throws {
      try runModel(
        "calls-model", .ipv4, ["--seed", "\(seed)", "--steps", "\(steps)"],
        connections: (steps + 39) / 40)
    }
  }
}
