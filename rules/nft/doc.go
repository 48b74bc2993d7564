// Package nft is the rules.Driver that writes nftables over netlink.
//
// It keeps one table "weir" in each of the families ip and ip6. The rules in it never change; what changes are elements
// of maps (layout.go has the whole table, docs/rules.md shows it as nft lists it). Adding, removing or re-weighting an
// instance writes map elements only.
//
// Goals beside those of rules.Driver, and where they fight:
//
//  1. Owned where possible. Since Linux 6.9 a table can belong to a process and outlive it (flags owner and persist):
//     then nobody else can touch it, not even "nft flush ruleset". Older kernels have no such flags, so everything must
//     also work without: Watch tells of foreign changes, Read finds them, Apply repairs them.
//  2. Adopt, do not rewrite. A new process reads what the last one wrote and goes on from there.
//  3. Listable. Whatever is installed must list cleanly with the nft of Debian 12 (1.0.6), and read well. Text writes the
//     same without a kernel, as a file that nft loads.
//
// What somebody else did is repaired piece by piece: a rule, a chain, an element. The whole table is made anew (in one
// transaction) only where a set of ours is of another kind or does not count, the table is switched off or a newer version's,
// or a repair was refused.
package nft
