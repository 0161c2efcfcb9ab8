package ui

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/internal/amcompat"
)

func TestMain(m *testing.M) {
	amcompat.Init()
	goleak.VerifyTestMain(m)
}
