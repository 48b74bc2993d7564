package check

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

const (
	maxHealthAnswer  = 4 << 10  // bytes of the message
	maxHealthHeaders = 16 << 10 // bytes of headers, taken out of their compression
	maxHealthBytes   = 64 << 10 // of all that is read
	healthStream     = 1        // the first one of a client
	grpcPrefix       = 5        // bytes before a message: whether it is compressed, and its length
)

// call is what came of one unary gRPC call (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
type call struct {
	code    codes.Code
	text    string // of the status
	message []byte
}

// hearCall reads the answer to a call on a new connection, which nothing else uses.
func hearCall(from io.Reader, to io.Writer) (call, error) {
	limited := &io.LimitedReader{R: from, N: maxHealthBytes}
	c, err := hearFrames(bufio.NewReaderSize(limited, 1<<10), to)
	if err != nil && limited.N == 0 {
		return call{}, fmt.Errorf("its answer is longer than %d bytes", maxHealthBytes)
	}
	return c, err
}

// callText is all that the client says, so that it goes out at once. Writing into memory does not fail.
func callText(scheme, host, path string, message []byte) []byte {
	var headers, out bytes.Buffer
	e := hpack.NewEncoder(&headers)
	for _, h := range [...]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: scheme}, {Name: ":path", Value: path}, {Name: ":authority", Value: host},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"}, {Name: "user-agent", Value: "weir-check"},
	} {
		_ = e.WriteField(h)
	}
	body := binary.BigEndian.AppendUint32(make([]byte, 1, grpcPrefix+len(message)), uint32(len(message))) // not compressed
	out.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&out, nil)
	_ = f.WriteSettings(http2.Setting{ID: http2.SettingEnablePush}, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHealthHeaders})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: healthStream, BlockFragment: headers.Bytes(), EndHeaders: true})
	_ = f.WriteData(healthStream, true, append(body, message...))
	return out.Bytes()
}

// settingsAck says that the server's settings were read: a frame without a body, of the type SETTINGS with the flag ACK.
var settingsAck = []byte{0, 0, 0, byte(http2.FrameSettings), byte(http2.FlagSettingsAck), 0, 0, 0, 0}

// hearFrames reads until the answer is whole.
func hearFrames(in io.Reader, out io.Writer) (call, error) {
	f := http2.NewFramer(nil, in)
	f.ReadMetaHeaders, f.MaxHeaderListSize = hpack.NewDecoder(4<<10, nil), maxHealthHeaders
	f.SetMaxReadFrameSize(16 << 10)
	a := told{}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return call{}, err
		}
		ours := frame.Header().StreamID == healthStream
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_, err = out.Write(settingsAck) // who works for long may wait for it
			}
		case *http2.MetaHeadersFrame:
			if ours {
				err = a.headers(frame)
			}
		case *http2.DataFrame:
			if ours {
				err = a.data(frame)
			}
		case *http2.RSTStreamFrame:
			err = fmt.Errorf("it resets the call: %s", frame.ErrCode)
		case *http2.GoAwayFrame:
			if frame.LastStreamID < healthStream {
				err = fmt.Errorf("it takes no calls: %s", frame.ErrCode)
			}
		}
		if err != nil {
			return call{}, err
		}
		if ended, ok := frame.(interface{ StreamEnded() bool }); ok && ours && ended.StreamEnded() {
			return a.whole()
		}
	}
}

// told is what was heard so far.
type told struct {
	status int // of HTTP
	code   string
	text   string
	body   []byte
}

func (a *told) headers(f *http2.MetaHeadersFrame) error {
	if f.Truncated {
		return fmt.Errorf("its headers are longer than %d bytes", maxHealthHeaders)
	}
	for _, h := range f.Fields {
		switch h.Name {
		case ":status":
			a.status, _ = strconv.Atoi(h.Value)
		case "grpc-status":
			a.code = h.Value
		case "grpc-message":
			a.text = h.Value
			if plain, err := url.PathUnescape(h.Value); err == nil {
				a.text = plain
			}
		}
	}
	return nil
}

func (a *told) data(f *http2.DataFrame) error {
	if len(a.body)+len(f.Data()) > grpcPrefix+maxHealthAnswer {
		return fmt.Errorf("its answer is longer than %d bytes", maxHealthAnswer)
	}
	a.body = append(a.body, f.Data()...)
	return nil
}

func (a *told) whole() (call, error) {
	if a.code == "" {
		return call{}, fmt.Errorf("it answers status %d and does not speak gRPC", a.status)
	}
	n, err := strconv.ParseUint(a.code, 10, 32)
	if err != nil {
		return call{}, fmt.Errorf("its gRPC status %q is no number", a.code)
	}
	c := call{code: codes.Code(n), text: a.text}
	if c.code != codes.OK {
		return c, nil
	}
	if len(a.body) < grpcPrefix || a.body[0] != 0 || uint32(len(a.body)-grpcPrefix) != binary.BigEndian.Uint32(a.body[1:]) {
		return call{}, fmt.Errorf("it answers %d bytes that are not one message of gRPC", len(a.body))
	}
	c.message = a.body[grpcPrefix:]
	return c, nil
}
