/// A queue that grows when it must.
struct Queue<Element> {
  private var elements: [Element?]
  private var head = 0
  private(set) var count = 0

  init(capacity: Int) { elements = Array(repeating: nil, count: max(capacity, 1)) }

  mutating func append(_ element: Element) {
    if count == elements.count {
      elements = Array(elements[head...] + elements[..<head]) + Array(repeating: nil, count: count)
      head = 0
    }
    elements[(head + count) % elements.count] = element
    count += 1
  }

  mutating func removeFirst() -> Element? {
    guard count > 0 else { return nil }
    defer {
      head = (head + 1) % elements.count
      count -= 1
    }
    return elements[head]
  }
}
