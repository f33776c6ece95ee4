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
	switch {
	case os.Getpid() == 1 && len(os.Args) > 0 && os.Getenv(envChannel) != "":
		err = runInit() // returns only in failure
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serveChannel(os.Getenv(envChannel))
	case len(os.Args) == 2 && os.Args[1] == "native":
		if err = privateFiles(); err == nil {
			err = serve(os.Stdin, os.Stdout)
		}
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
