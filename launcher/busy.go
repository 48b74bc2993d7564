package launcher

import "errors"

// busy is an ErrPortBusy with the port.
type busy struct{ port uint16 }

// Busy makes an error of a port of an instance that somebody else has.
func Busy(port uint16) error { return busy{port} }

func (b busy) Error() string { return ErrPortBusy.Error() }

func (b busy) Unwrap() error { return ErrPortBusy }

// BusyPort is the port that an error is about; 0 where it is about none, or does not say.
func BusyPort(err error) uint16 {
	var b busy
	if errors.As(err, &b) {
		return b.port
	}
	return 0
}
