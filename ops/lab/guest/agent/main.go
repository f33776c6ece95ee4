// Command agent does what a test asks in a guest: it reads requests, one
// line of JSON each, and answers them (package guest). As process 1 of a
// User-Mode Linux guest it first makes the guest usable; in a namespace of the machine it
// runs with its requests on standard input. It is built static and for tests only.
package main

import (
	"fmt"
	"os"
)

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 2 && args[0] == "serve":
		err = serveChannel(args[1])
	case len(args) == 1 && args[0] == "native":
		if err = privateFiles(); err == nil {
			err = serve(os.Stdin, os.Stdout)
		}
	case os.Getpid() == 1:
		err = runInit() // returns only in failure
	default:
		err = fmt.Errorf("usage: agent native (requests on standard input), or as process 1 with %s", envChannel)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		if os.Getpid() == 1 {
			powerOff()
		}
		os.Exit(1)
	}
}
