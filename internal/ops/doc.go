// Package ops is the window for those who operate a process: health, metrics and debug pages over HTTP, and readiness
// and watchdog messages to systemd.
//
// The pages show what the process knows and may be costly to render, and there is no login. So:
//
//   - Only loopback is listened on, unless AllowRemote says otherwise.
//   - A request must name this server in its Host header. A web page that points its own name at 127.0.0.1 (DNS
//     rebinding) is refused.
//   - Only GET and HEAD are answered, nothing here changes anything, and profiles exist only when asked for.
package ops
