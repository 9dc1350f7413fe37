// Package witness is how logs vouch for each other: it cosigns the checkpoints of
// other logs, and has ours cosigned (C2SP tlog-witness).
//
// A [Server] cosigns a checkpoint only if its tree continues every one of that log
// that it cosigned before; so a log that was rolled back, or shows different
// histories to different people, finds nobody to cosign the second. It owns the
// table of the logs it watches and of the newest checkpoint of each, which is on
// disk before the cosignature leaves. A server that also records what it cosigns
// makes its own log the log of logs: one root for a fleet.
//
// A [Quorum] shows our published checkpoint to the witnesses of a policy, and keeps
// it once enough of them have cosigned. Nobody is a witness in their own cause: one
// with the log's own key, or with a name below the log's, does not count. A witness
// that holds another history under our own signature stops our log.
package witness
