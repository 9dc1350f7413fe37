package cdevents

import "testing"

// TestApprovalsUseTheirWords: the draft has few words for what was decided.
func TestApprovalsUseTheirWords(t *testing.T) {
	words := map[any]bool{"escalated": true, "delegate": true, "deferred": true, "requestChanges": true, "approved": true, "rejected": true}
	for _, s := range []Step{
		{Sort: Voted, Yes: true}, {Sort: Voted}, {Sort: Ran}, {Sort: Broken}, {Sort: Unseen}, {Sort: Tested},
		{Sort: Ended, State: "done"}, {Sort: Ended, State: "void"}, {Sort: Ended, State: "contested"}, {Sort: Ended, State: "expired"},
	} {
		_, content := s.approval()
		if decision := content["decision"]; !words[decision] || (s.Sort == Voted) != (decision == "approved" || decision == "rejected") && s.Sort != Ended {
			t.Errorf("%s, %s: %v", s.Sort, s.State, decision)
		}
		if status, ended := content["status"]; ended != (s.Sort == Ended) || ended && !map[any]bool{"approved": true, "rejected": true, "cancelled": true, "expired": true}[status] {
			t.Errorf("%s, %s: status %v", s.Sort, s.State, status)
		}
	}
}
