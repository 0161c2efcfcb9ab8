// Command hancock is the whole of Hancock in one process: it answers security
// questions over HTTP, keeps its own metrics, watches them, and shows them on
// one page.
package main

import (
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
