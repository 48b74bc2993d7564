// Package describe puts together all that is known of one service, from what others read. It asks nobody.
package describe
