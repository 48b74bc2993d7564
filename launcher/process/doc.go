// Package process is the driver that is always there: it runs programs of this host, each beside a shim of its own.
//
//	DIR/lock            one launcher at a time
//	DIR/ID/             one directory for each instance, see package shim; 0700, as DIR
//	DIR/.stopped/ID/    the output of the last few that were stopped
//	ENVDIR/ID.env       the environment of the instance, readable by its user
//
// There is no memory beside these files: a driver that is opened finds what an earlier one started.
package process
