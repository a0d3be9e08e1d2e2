import Laboratory
import Testing

extension Integration {
  /// What socket calls answer, against the kernel on the same interfaces and with the same peer.
  @Suite(.network()) struct Options {
    /// Every option, with many values and lengths, on sockets in every state: the program compares
    /// what setsockopt and getsockopt answer, and lists the differences that are meant to be.
    @Test(arguments: [AddressFamily.ipv4, .ipv6])
    func answersAsTheKernelDoes(_ family: AddressFamily) throws {
      try runModel("options-model", family, connections: 4)
    }

    /// What the options do: low-water marks, lingering, urgent data, room to send, TCP_INFO.
    @Test(arguments: [AddressFamily.ipv4, .ipv6])
    func streamsBehaveAsTheKernels(_ family: AddressFamily) throws {
      try runModel("stream-model", family, connections: 18)
    }
  }
}
