// Package keep keeps the instances that are assigned to a node.
//
//	ops/assign/<node> --> Keeper --Ensure, Stop--> drivers
//	                             --> ops/status/<node>, net/instances/<node>
//
// Guarantees:
//   - An instance is stopped only when its assignment says so. That it is not assigned any more, that the store is away or
//     was wiped, that the Keeper ends: none of it stops anything.
//   - It is registered, so that nodes send connections to it, only while it runs and after its check has passed once. That it
//     stopped is said only after it was taken back.
//   - One that ends by itself is started anew: at once the first time, then after a second, and so on up to five minutes. No
//     word of the store is waited for. How it ended stays told when it runs again.
//   - What one instance, or one driver, does holds up no other.
package keep
