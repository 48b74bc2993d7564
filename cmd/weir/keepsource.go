package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"
)

// keepSourceFlag is --keep-source: networks, several by comma or by giving it again.
type keepSourceFlag struct{ prefixes []netip.Prefix }

func (k *keepSourceFlag) register(flags *pflag.FlagSet) {
	flags.Var(k, "keep-source", "networks of clients that instances may see, because replies pass this node")
}

// String, Set and Type make it a flag that refuses what is no network.
func (k *keepSourceFlag) String() string {
	texts := make([]string, len(k.prefixes))
	for i, p := range k.prefixes {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

func (k *keepSourceFlag) Set(s string) error {
	for text := range strings.SplitSeq(s, ",") {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("want a network as in 10.0.0.0/8: %w", err)
		}
		k.prefixes = append(k.prefixes, p.Masked())
	}
	return nil
}

func (k *keepSourceFlag) Type() string { return "CIDR" }
