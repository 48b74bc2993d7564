package process

import (
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// account is who an instance runs as.
type account struct {
	uid, gid uint32
	change   bool     // from the launcher's own
	login    []string // HOME and USER
}

// lookUp finds a user by name or number. Nobody becomes root without being named so.
func lookUp(name string) (account, *cluster.Problem) {
	self := os.Geteuid()
	if name == "" && self == 0 {
		return account{}, &cluster.Problem{Field: "user", What: "is not given, and the launcher is root", Fix: "name one; root too has to be named"}
	}
	if name == "" {
		name = strconv.Itoa(self)
	}
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.LookupId(name)
	}
	if number, nerr := strconv.ParseUint(name, 10, 32); err != nil && nerr == nil && number != 1<<32-1 {
		u, err = &user.User{Uid: name, Gid: name, Username: name, HomeDir: "/"}, nil // a number needs no entry
	}
	if err != nil {
		return account{}, &cluster.Problem{Field: "user", What: fmt.Sprintf("%q does not exist on this node", plain.Line(name, 80)), Fix: "make the user, or name another"}
	}
	uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
	if uerr != nil || gerr != nil {
		return account{}, &cluster.Problem{Field: "user", What: fmt.Sprintf("%q has no number", plain.Line(name, 80)), Fix: "name another"}
	}
	if self != 0 && int(uid) != self {
		return account{}, &cluster.Problem{Field: "user", What: fmt.Sprintf("%q is not the launcher's own, and it is not root", plain.Line(name, 80)), Fix: "leave it out, or run the launcher as root"}
	}
	return account{uint32(uid), uint32(gid), self == 0, []string{"HOME=" + u.HomeDir, "USER=" + u.Username}}, nil
}
