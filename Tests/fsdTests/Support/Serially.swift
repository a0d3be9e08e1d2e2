import Testing

/// Tests that count the descriptors of this process: they must not run beside others that open
/// some. `make test` gives these tests a process of their own.
@Suite(.serialized)
enum Serially {}
