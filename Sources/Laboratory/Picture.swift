import Foundation

/// A drawing in SVG.
public struct Picture {
  private let width: Double
  private let height: Double
  private var elements: [String] = []

  /// An empty one, in pixels.
  public init(width: Double, height: Double) {
    self.width = width
    self.height = height
  }

  /// A line between two points. `dash` is the pattern of SVG's stroke-dasharray.
  public mutating func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ colour: String, width: Double = 1,
    dash: String = ""
  ) {
    elements.append(
      String(
        format: "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%@' stroke-width='%.1f'%@/>",
        x1, y1, x2, y2, colour, width, Self.dashes(dash)))
  }

  /// A filled rectangle.
  public mutating func bar(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ colour: String
  ) {
    elements.append(
      String(
        format: "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='%@'/>", x, y,
        max(width, 0), height, colour))
  }

  /// A line through points.
  public mutating func path(
    _ points: [(x: Double, y: Double)], _ colour: String, width: Double = 1.5, dash: String = ""
  ) {
    let list = points.map { String(format: "%.1f,%.1f", $0.x, $0.y) }.joined(separator: " ")
    elements.append(
      "<polyline points='\(list)' fill='none' stroke='\(colour)' "
        + "stroke-width='\(width)'\(Self.dashes(dash))/>")
  }

  private static func dashes(_ pattern: String) -> String {
    pattern.isEmpty ? "" : " stroke-dasharray='\(pattern)'"
  }

  /// Words, with a white edge that keeps lines behind them away. `anchor`: start, middle or end.
  public mutating func text(_ x: Double, _ y: Double, _ text: String, anchor: String = "start") {
    let safe = text.replacingOccurrences(of: "&", with: "&amp;")
      .replacingOccurrences(of: "<", with: "&lt;")
    elements.append(
      String(
        format: "<text x='%.1f' y='%.1f' text-anchor='%@' stroke='white' "
          + "stroke-width='3' paint-order='stroke'>%@</text>", x, y, anchor, safe))
  }

  /// The whole file.
  public var svg: String {
    String(
      format: "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %.0f %.0f' width='%.0f' "
        + "height='%.0f' font-family='sans-serif' font-size='12'>\n", width, height, width, height)
      + "<rect width='100%' height='100%' fill='white'/>\n"
      + elements.joined(separator: "\n") + "\n</svg>\n"
  }
}
