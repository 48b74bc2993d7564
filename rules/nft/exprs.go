package nft

import (
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/rules"
)

// The pieces that rules are made of, in the form in which the kernel reports them.

// exprs is a piece that needs several expressions.
type exprs []expr.Any

func (f *family) rule(text string, pieces ...any) rule {
	r := rule{text: text}
	for _, p := range pieces {
		switch p := p.(type) {
		case exprs:
			r.exprs = append(r.exprs, p...)
		case expr.Any:
			r.exprs = append(r.exprs, p)
		}
	}
	return r
}

func (f *family) addr(offset, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.addrLen}
}

// frontend loads the key of the services map.
func (f *family) frontend() exprs {
	return exprs{
		f.addr(f.daddr, 1),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: f.proto},
		&expr.Payload{DestRegister: f.port, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

func (f *family) random(size int) exprs {
	return exprs{&expr.Numgen{Register: f.slot, Modulus: uint32(size), Type: unix.NFT_NG_RANDOM}}
}

func (f *family) bySource(size int) exprs {
	return exprs{
		f.addr(f.saddr, f.hashed),
		&expr.Hash{SourceRegister: f.hashed, DestRegister: f.slot, Length: f.addrLen, Modulus: uint32(size), Seed: rules.SourceSeed, Type: expr.HashTypeJenkins},
	}
}

func (f *family) dnat() expr.Any {
	return &expr.NAT{
		Type: expr.NATTypeDestNAT, Family: uint32(f.table), Specified: true,
		RegAddrMin: 1, RegAddrMax: 1, RegProtoMin: f.second, RegProtoMax: f.second,
	}
}

func (f *family) originalDestination() exprs {
	return exprs{&expr.Ct{Register: 1, Key: f.ctDst, Direction: 0, OptDirection: true}}
}

func (f *family) protocol(number uint8) exprs {
	return exprs{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{number}},
	}
}

// echo is the request of ping.
func (f *family) echo() exprs {
	return exprs{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f.echoRequest}},
	}
}

func gotoChain(name string) expr.Any { return &expr.Verdict{Kind: expr.VerdictGoto, Chain: name} }
func jumpChain(name string) expr.Any { return &expr.Verdict{Kind: expr.VerdictJump, Chain: name} }

// in goes on only if register 1 is in a set.
func in(set string) expr.Any { return &expr.Lookup{SourceRegister: 1, SetName: set} }

// note puts register 1 into a set that the kernel fills, or counts it there.
func note(set string) expr.Any {
	return &expr.Dynset{SrcRegKey: 1, SetName: set, Operation: uint32(unix.NFT_DYNSET_OP_UPDATE)}
}

// add puts register 1 into a set that the kernel fills; it goes on only if there is room.
func add(set string) expr.Any {
	return &expr.Dynset{SrcRegKey: 1, SetName: set, Operation: uint32(unix.NFT_DYNSET_OP_ADD)}
}

// toldBy tells of a packet to whoever listens to our log group, each at once.
func toldBy() expr.Any {
	return &expr.Log{
		Key:   1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_SNAPLEN | 1<<unix.NFTA_LOG_QTHRESHOLD,
		Group: rules.WakeGroup, Snaplen: rules.WakeSnaplen, QThreshold: 1, Data: []byte(rules.WakePrefix),
	}
}

// verdictOf does what the map says of register 1.
func verdictOf(set string) expr.Any {
	return &expr.Lookup{SourceRegister: 1, SetName: set, IsDestRegSet: true}
}

// targetFrom replaces the key by what the map holds for it.
func targetFrom(set string) expr.Any {
	return &expr.Lookup{SourceRegister: 1, DestRegister: 1, SetName: set, IsDestRegSet: true}
}

var (
	masquerade   = &expr.Masq{FullyRandom: true}
	accessReturn = &expr.Verdict{Kind: expr.VerdictReturn}

	localSource = exprs{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagSADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
	outLoopback = exprs{
		&expr.Meta{Key: expr.MetaKeyOIF, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(1)}, // lo is 1 in every namespace
	}
	ctStatusDNAT       = ctFlag(expr.CtKeySTATUS, ipsDestinationNAT)
	ctStateEstablished = ctFlag(expr.CtKeySTATE, expr.CtStateBitESTABLISHED)
)

// ipsDestinationNAT is IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h.
const ipsDestinationNAT = 1 << 5

func ctFlag(key expr.CtKey, bit uint32) exprs {
	return exprs{
		&expr.Ct{Register: 1, Key: key},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bit), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}
