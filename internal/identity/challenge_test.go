package identity

import (
	"errors"
	"fmt"
	"testing"
)

func TestChallenge(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{&Refusal{Missing}, `Bearer realm="pavise"`},
		{errors.New("something else"), `Bearer realm="pavise"`},
		{fmt.Errorf("verify: %w", &Refusal{Expired}), `Bearer realm="pavise", error="invalid_token", error_description="expired"`},
		{&Refusal{BadSignature}, `Bearer realm="pavise", error="invalid_token", error_description="signature"`},
	}
	for _, tt := range tests {
		if got := Challenge(tt.err); got != tt.want {
			t.Errorf("challenge of %v is %s, want %s", tt.err, got, tt.want)
		}
	}
}
