import Laboratory
import Testing

extension Integration {
  /// What socket calls answer, against the kernel on the same interfaces and with the same peer.
  @Suite(.network()) struct Options {
    /// Every option, with many values and lengths, on sockets in every state: the program compares
    /// what setsockopt and getsockopt answer, and lists the differences that are meant to be.
    @Test(arguments: [AddressFamily.ipv4, .ipv6])
    func answersAsTheKernelDoes(_ family: AddressFamily) throws {
      let network = try Network.running()
      let model = try compile(
        "options-model", into: try network.laboratory.makeDirectory("options-\(family)"))
      try compareWithTheKernel(model, family)
    }

    /// What the options do: low-water marks, lingering, urgent data, room to send, TCP_INFO.
    @Test(arguments: [AddressFamily.ipv4, .ipv6])
    func streamsBehaveAsTheKernels(_ family: AddressFamily) throws {
      let network = try Network.running()
      let model = try compile(
        "stream-model", into: try network.laboratory.makeDirectory("stream-\(family)"))
      try compareWithTheKernel(model, family)
    }

    private func compareWithTheKernel(_ model: String, _ family: AddressFamily) throws {
      let network = try Network.running()
      try network.expectNoLeak {
        _ = try network.server.run(
          [model, "--address", network.front.address(family), "--netns", network.peer.name],
          preloaded: Network.hasDaemon, seconds: 120)
      }
    }
  }
}
