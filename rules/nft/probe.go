package nft

import (
	"errors"
	"fmt"
	"os"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/rules"
)

// probe finds out whether nf_tables answers at all.
func (d *Driver) probe() error {
	_, err := d.conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("ask nf_tables: %w: run as root or give the process CAP_NET_ADMIN", rules.ErrPermission)
	}
	return fmt.Errorf("ask nf_tables: %w: the kernel needs nf_tables (modprobe nf_tables, CONFIG_NF_TABLES)", err)
}

// canOwn finds out whether the kernel knows tables that belong to a process and outlive it. It makes and deletes a table
// in one transaction, which therefore never exists.
func (d *Driver) canOwn() bool {
	table := &nftables.Table{
		Name: fmt.Sprintf("weir-probe-%d", os.Getpid()), Family: nftables.TableFamilyIPv4,
		Flags: nftables.TableFlagOwner | nftables.TableFlagPersist,
	}
	d.conn.AddTable(table)
	d.conn.DelTable(table)
	return d.conn.Flush() == nil
}

// classify turns the kernel's error numbers into the questions that callers ask.
func classify(err error) error {
	var kind error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ERESTART):
		kind = rules.ErrShadow
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		kind = rules.ErrPermission
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ERANGE), errors.Is(err, unix.E2BIG),
		errors.Is(err, unix.EMLINK), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EBUSY):
		kind = rules.ErrRejected
	default:
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}
