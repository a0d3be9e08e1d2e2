import Foundation
import Laboratory

// The main job on one machine: a client, a proxy and a server, each a host of its own, where stock
// HAProxy and stock nginx answer over the engines of fsd. Ends with status 0 only if all of it has
// been seen to be true.

Laboratory.showOutputByLine()
Laboratory.tearDownWhenInterrupted { print("\nInterrupted: cleaning up.") }
do {
  let summary = try Demonstration().run()
  Laboratory.tearDownAll()
  print(summary.text)
  exit(summary.isTrue ? 0 : 1)
} catch {
  Laboratory.tearDownAll()
  print("\nThe demonstration failed: \(error)")
  exit(1)
}
