package chaos

import "slices"

// Row is one fault.
type Row struct {
	ID       string
	Fault    string
	Expected string
	Target   string    // of the figures that its lines carry
	Promises []int     // that the row holds: see Promises
	Variants []Variant // that it runs in
	Quick    []Variant // of these, those that every test run has
	Mutation Mutation
}

// Variant is how the agents of a row run.
type Variant struct {
	Driver string // nft or ipt
	Owner  string // --table-owner; "" for ipt, which has no tables to own
}

// String is the name of the variant's subtest.
func (v Variant) String() string {
	if v.Owner == "" {
		return v.Driver
	}
	return v.Driver + "-" + v.Owner
}

var (
	nftAuto = Variant{"nft", "auto"}
	nftOff  = Variant{"nft", "off"}
	ipt     = Variant{"ipt", ""}

	one  = []Variant{nftAuto}         // for what ownership has nothing to do with
	both = []Variant{nftAuto, nftOff} // the kernel protects our tables, or does not
	each = []Variant{nftAuto, ipt}    // drivers, for what ownership has nothing to do with
	all  = []Variant{nftAuto, nftOff, ipt}
)

// Mutation is a change of the program that takes away what a row tests. A row that stays green with it tests nothing.
type Mutation struct {
	File, Old, New string // Old occurs once in File
	Why            string // what the mutation takes away
	Variant        Variant
	Suite          bool // the row runs the mutated code in its own process as well: the suite is built from the mutated source
}

// Promises are what the rows hold together.
var Promises = []string{
	"The data plane forwards with control center, etcd and agent all down.",
	"No half-applied state is ever visible.",
	"Drift is repaired within 1 s.",
	"A bad object harms only itself.",
	"Restart and upgrade of the agent lose 0 connections.",
	"Two control centers never both write.",
	"Nothing is exposed without TLS and authentication unless the user asks for it by name.",
}

// Rows are all faults, in the order in which they are run and printed.
func Rows() []Row { return slices.Concat(processRows, kernelRows, storeRows, controlRows, inputRows) }
