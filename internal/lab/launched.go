package lab

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// WorkVariable tells an instance how long it works for each connection before it answers, as in 2ms: of processor time, on
// one processor.
const WorkVariable = "LAB_WORK"

// launchedArgument has a program be an instance that a launcher started.
const launchedArgument = "be-launched"

// LaunchedCommand is what a launcher runs to have this program be an instance.
func LaunchedCommand() ([]string, error) {
	self, err := os.Executable()
	return []string{self, launchedArgument}, err
}

// BecomeLaunched has a process be what LaunchedCommand started it for, and does not return then: it listens where its
// environment says, sends its id and a newline, and echoes. After TERM it takes no new connections, and ends with its last.
func BecomeLaunched() {
	if len(os.Args) != 2 || os.Args[1] != launchedArgument {
		return
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("HOST_IP"), os.Getenv("PORT")))
	if err != nil {
		fmt.Println("cannot listen:", err)
		os.Exit(1)
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	go func() {
		<-asked
		fmt.Println("asked to end")
		_ = ln.Close()
	}()
	fmt.Println("listening on", ln.Addr())
	each, _ := time.ParseDuration(os.Getenv(WorkVariable)) // without: it answers at once
	var open sync.WaitGroup
	var working sync.Mutex
	for {
		c, err := ln.Accept()
		if err != nil {
			break
		}
		open.Go(func() {
			defer c.Close()
			if each > 0 {
				working.Lock()
				runtime.LockOSThread()
				burn(threadTime(), each)
				runtime.UnlockOSThread()
				working.Unlock()
			}
			fmt.Fprintln(c, os.Getenv("INSTANCE_ID"))
			_, _ = io.Copy(c, c)
		})
	}
	open.Wait()
	os.Exit(0)
}
