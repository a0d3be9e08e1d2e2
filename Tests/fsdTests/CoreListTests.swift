import Testing

@testable import fsd

@Test(arguments: [
  ("0", [0]), ("0,2-3", [0, 2, 3]), ("3,1", [3, 1]), ("1-1", [1]), ("0-2,1", [0, 1, 2]),
])
func coreListIsRead(text: String, expected: [Int]) {
  #expect(CoreList.parse(text) == .success(CoreList(processors: expected)))
}

@Test(arguments: [
  ("", "neither a processor nor a range"), ("a", "neither a processor nor a range"),
  ("1,", "neither a processor nor a range"), ("1-", "neither a processor nor a range"),
  ("-1", "neither a processor nor a range"), ("1-2-3", "neither a processor nor a range"),
  ("+1", "neither a processor nor a range"), ("3-1", "runs backwards"), ("4096", "is beyond"),
])
func malformedCoreListIsExplained(text: String, words: String) {
  guard case .failure(let invalid) = CoreList.parse(text) else {
    Issue.record("'\(text)' was accepted")
    return
  }
  #expect(invalid.description.contains(words))
}
