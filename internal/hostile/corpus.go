// Package hostile is a corpus of words that somebody may write into a field in order to have them executed, obeyed by a
// terminal, or taken for something else. Tests put them everywhere.
package hostile

import (
	"fmt"
	"strings"
)

// Mark is in every word that would do something if it was executed: nothing in a kernel or a directory may ever hold it.
const Mark = "weirpwned"

// payloads would make an object, a file or a process named after the mark.
var payloads = []string{
	"add table ip " + Mark, "table inet " + Mark + " { }", "flush ruleset", "delete table ip stranger", "-F OUTPUT", "-t nat -A PREROUTING -j ACCEPT",
	"*nat\n-A PREROUTING -j DROP\nCOMMIT", "touch /tmp/" + Mark, "echo " + Mark + " > /tmp/" + Mark, "ip link add " + Mark + " type bridge",
	"conntrack -F", "include \"/etc/passwd\"", "goto accept", "10.66.66.66:66", "0.0.0.0/0",
}

// frames break out of where a word stands: a quote of nft, of a shell, of iptables-restore, of JSON, of YAML.
var frames = []string{
	"%s", "\"; %s; #", "\"\n%s\n#", "'; %s; '", "$(%s)", "`%s`", "| %s", "&& %s", "\r\n%s\r\n", "\x00%s", "} %s {", "\"}, {\"x\": \"%s", "\n---\n%s", "*%s", "&a %s",
	"!!python/object %s", "{{%s}}", "${%s}", "%%n%%s%%x %s", "../../%s", "-%s", "--%s=", "\\%s", "@%s", "a --comment \"%s\" -j DROP", "comment \"%s\"",
}

// screens are obeyed by terminals, hide what follows, or look like something else.
var screens = []string{
	"\x1b[31m", "\x1b[2J\x1b[H", "\x1b]0;title\a", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "\x1bP$q\x1b\\", "\u009b31m", "\u009d0;x\u009c", "\b\b\b", "\r", "\a", "\v\f",
	"\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u2028", "\u2029", "\u0430\u0440\u0440l\u0435", "e\u0301\u0327\u0301", "\U000e0041", "\uffff", "\xff\xfe", "\xc0\x80", "\xed\xa0\x80",
	"\x7f", "\t", "\n", "\x00",
}

// Words are a thousand of them, each another, always the same.
func Words() []string {
	const many = 1000
	seen, out := map[string]bool{}, make([]string, 0, many)
	add := func(words ...string) {
		for _, w := range words {
			if !seen[w] && len(out) < many {
				seen[w], out = true, append(out, w)
			}
		}
	}
	for _, frame := range frames {
		for _, p := range payloads {
			add(fmt.Sprintf(frame, p))
		}
	}
	for _, s := range screens {
		add(s, s+Mark, Mark+s, strings.Repeat(s, 200))
		for _, p := range payloads {
			add(s + p)
		}
	}
	for n := 1; len(out) < many; n++ {
		add(strings.Repeat("A", 1<<(n%14)) + screens[n%len(screens)] + fmt.Sprint(n))
	}
	return out
}
