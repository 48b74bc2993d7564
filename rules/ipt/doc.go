// Package ipt is the rules.Driver that writes iptables rules, for kernels and hosts where nf_tables is not to be had. It
// works through iptables-nft and iptables-legacy alike, IPv4 through iptables and IPv6 through ip6tables.
//
// A frontend is a chain of its own, in the form of the patent: rule k of n sends a new connection to target k with
// probability w_k / (w_k + ... + w_n), and the last one takes the rest (encode.go). layout.go has the chains around them,
// docs/rules-ipt.md shows all of it as iptables-save lists it.
//
// Goals beside those of rules.Driver, and where they fight:
//
//  1. Only what differs is written: the chains of frontends that changed, in one iptables-restore for each family.
//  2. As atomic as iptables can be. One restore of one table is one transaction. The tables nat and filter, and the two
//     families, are separate ones. So what refuses (filter) is written before what leads to it (nat) and outlives it, and
//     a failure in between leaves a whole that is older in part, never one that loses packets.
//  3. Adopt, do not rewrite. Everything that Build says can be read back from iptables-save: how many slots a target has
//     stands in the comment of its rule, and the probability must agree with it.
//  4. Bounded. No program is waited for longer than a limit, nor is the lock that iptables programs share.
//
// No user text gets into a rule: names of chains are ours and a hash of the frontend, comments are numbers.
package ipt
