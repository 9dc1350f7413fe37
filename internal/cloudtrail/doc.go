// Package cloudtrail reads what AWS CloudTrail leaves in a bucket, log files and the digest
// files that vouch for them, and says whether they are as AWS wrote them. Each hour CloudTrail
// writes a digest file with the hash of every log file of that hour, and the hash and the
// signature of the digest before; the signature of the newest is kept beside it. The rules are
// those of the AWS CloudTrail User Guide, "Custom implementations of CloudTrail log file
// integrity validation".
//
// It owns no state, and holds of an account what fits: the names of its files and the heads of
// its digests.
package cloudtrail
