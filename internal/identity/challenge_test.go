package identity

import (
	"errors"
	"fmt"
	"testing"
)

func TestChallenge(t *testing.T) {
	bare := `Bearer realm="pavise", DPoP algs="` + proofAlgorithms + `"`
	tests := []struct {
		err  error
		want string
	}{
		{&Refusal{Missing}, bare},
		{errors.New("something else"), bare},
		{&Refusal{NotHolder}, `DPoP realm="pavise", error="invalid_token", error_description="holder", algs="` + proofAlgorithms + `"`},
		{&Refusal{Replayed}, `DPoP realm="pavise", error="invalid_dpop_proof", error_description="proof_replay", algs="` + proofAlgorithms + `"`},
		{fmt.Errorf("verify: %w", &Refusal{Expired}), `Bearer realm="pavise", error="invalid_token", error_description="expired"`},
		{&Refusal{BadSignature}, `Bearer realm="pavise", error="invalid_token", error_description="signature"`},
	}
	for _, tt := range tests {
		if got := Challenge(tt.err); got != tt.want {
			t.Errorf("challenge of %v is %s, want %s", tt.err, got, tt.want)
		}
	}
}
