import Foundation

/// Lines over the number of engines, as SVG.
struct ScalingPlot {
  var engines: [Int]
  var series: [(name: String, values: [Double])]

  private static let colours = ["#1b6ca8", "#c0392b", "#2e8b57"]
  private static let dashes = ["", "8 4", "2 4"]
  private static let (width, height) = (720.0, 380.0)
  private static let (left, right, top, bottom) = (56.0, 20.0, 90.0, 48.0)
  private static let (low, high) = (0.0, 120.0)

  private func x(_ engines: Int) -> Double {
    let span = Double(max(1, (self.engines.last ?? 1) - 1))
    return Self.left + (Self.width - Self.left - Self.right) * Double(engines - 1) / span
  }

  private func y(_ value: Double) -> Double {
    let part = (value - Self.low) / (Self.high - Self.low)
    return Self.height - Self.bottom - (Self.height - Self.top - Self.bottom) * part
  }

  func write(to path: String) throws {
    var parts = [
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(Int(Self.width))\" height=\"\(Int(Self.height))\""
        + " font-family=\"sans-serif\" font-size=\"12\">",
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
    ]
    for value in stride(from: Self.low, through: Self.high, by: 20) {
      parts.append(
        "<line x1=\"\(Self.left)\" x2=\"\(Self.width - Self.right)\" y1=\"\(y(value))\" y2=\"\(y(value))\""
          + " stroke=\"#dddddd\"/>")
      parts.append(
        "<text x=\"\(Self.left - 8)\" y=\"\(y(value) + 4)\" text-anchor=\"end\">\(Int(value))</text>"
      )
    }
    for count in engines {
      parts.append(
        "<text x=\"\(x(count))\" y=\"\(Self.height - Self.bottom + 18)\" text-anchor=\"middle\">"
          + "\(count)</text>")
    }
    parts.append(
      "<text x=\"\(Self.width / 2)\" y=\"\(Self.height - 10)\" text-anchor=\"middle\">engines</text>"
    )
    for (number, line) in series.enumerated() { parts += lines(number, line) }
    parts.append("</svg>\n")
    try parts.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
  }

  private func lines(_ number: Int, _ line: (name: String, values: [Double])) -> [String] {
    let colour = Self.colours[number % Self.colours.count]
    let stroke =
      "stroke=\"\(colour)\" stroke-width=\"2\""
      + " stroke-dasharray=\"\(Self.dashes[number % Self.dashes.count])\""
    let points = zip(engines, line.values).map { "\(x($0)),\(String(format: "%.2f", y($1)))" }
    let height = 18.0 + Double(number) * 20
    return [
      "<polyline fill=\"none\" \(stroke) points=\"\(points.joined(separator: " "))\"/>",
      "<line x1=\"\(Self.left)\" x2=\"\(Self.left + 40)\" y1=\"\(height)\" y2=\"\(height)\" \(stroke)/>",
      "<text x=\"\(Self.left + 48)\" y=\"\(height + 4)\">\(line.name)</text>",
    ]
  }
}
