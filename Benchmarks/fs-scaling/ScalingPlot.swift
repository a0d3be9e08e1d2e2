import Foundation
import Laboratory

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
    var picture = Picture(width: Self.width, height: Self.height)
    for value in stride(from: Self.low, through: Self.high, by: 20) {
      picture.line(Self.left, y(value), Self.width - Self.right, y(value), "#dddddd")
      picture.text(Self.left - 8, y(value) + 4, "\(Int(value))", anchor: "end")
    }
    for count in engines {
      picture.text(x(count), Self.height - Self.bottom + 18, "\(count)", anchor: "middle")
    }
    picture.text(Self.width / 2, Self.height - 10, "engines", anchor: "middle")
    for (number, line) in series.enumerated() { draw(number, line, in: &picture) }
    try picture.svg.write(toFile: path, atomically: true, encoding: .utf8)
  }

  private func draw(
    _ number: Int, _ line: (name: String, values: [Double]), in picture: inout Picture
  ) {
    let colour = Self.colours[number % Self.colours.count]
    let dash = Self.dashes[number % Self.dashes.count]
    let height = 18.0 + Double(number) * 20
    picture.path(
      zip(engines, line.values).map { (x($0), y($1)) }, colour, width: 2, dash: dash)
    picture.line(Self.left, height, Self.left + 40, height, colour, width: 2, dash: dash)
    picture.text(Self.left + 48, height + 4, line.name)
  }
}
