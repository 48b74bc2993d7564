// Package lab builds small networks out of network namespaces, so that tests and the demo can send real packets through
// real kernel rules on one machine.
//
// What holds:
//
//   - A lab never touches the namespace it is called from: every link is born inside the lab, and no route leads out of it.
//   - Each namespace has a name under /run/netns, so `ip netns exec NAME tcpdump` works while a lab is up.
//   - Close removes everything, control groups included; what a killed process left behind is removed by the next New on
//     the same machine.
//   - Labs do not see each other: any number of them may be up at once, all with the same addresses.
//
// It needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN).
package lab
