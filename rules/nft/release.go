package nft

import (
	"fmt"
	"time"

	"github.com/google/nftables"
)

// released waits until the tables of a socket that is closed belong to nobody. The kernel takes them from it when the last
// that has the socket is gone, and a child has it, too, from its fork until it runs its own program.
func released(netns int, portID uint32) error {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(netns))
	if err != nil {
		return fmt.Errorf("see whether the tables are given up: %w", classify(err))
	}
	defer func() { _ = conn.CloseLasting() }()
	const patience, pause = 5 * time.Second, time.Millisecond // a child is done within a millisecond, where nothing holds it up
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		last := time.Now().After(end) // asked before the look: this process may be held up behind it
		owned, err := owns(conn, portID)
		switch {
		case err != nil:
			return fmt.Errorf("see whether the tables are given up: %w", err)
		case !owned:
			return nil
		case last:
			return fmt.Errorf("the tables still belong to netlink port %d, %s after it was closed: a process that was started from this one has it, too", portID, patience)
		}
	}
}

// owns says whether one of our tables belongs to a netlink port.
func owns(conn *nftables.Conn, portID uint32) (bool, error) {
	for _, f := range families {
		table, err := findBy(conn, f)
		if err != nil {
			return false, err
		}
		if table != nil && table.Owner == portID {
			return true, nil
		}
	}
	return false, nil
}
