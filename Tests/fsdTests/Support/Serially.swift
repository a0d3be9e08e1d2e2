import Testing

/// Tests that count the descriptors of this process: they must not run beside others that open
/// some.
@Suite(.serialized)
enum Serially {}
