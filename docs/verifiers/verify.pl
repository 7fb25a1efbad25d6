#!/usr/bin/env perl
# Checks that a webhook comes from your Sluicegate and that nobody changed it.
#
# Copy `verify` into your receiver and give it the body as it arrived, as bytes, before anything parses it. Keys are texts:
# `whsec_...` is a secret that Sluicegate has too, `whpk_...` a public key (this calls the command `openssl`, 3.0 or later).
# Nothing is needed that does not come with Perl.
#
# To try it: verify.pl ID TIMESTAMP SIGNATURES KEY... < body

use strict;
use warnings;
use Digest::SHA qw(hmac_sha256);
use File::Temp qw(tempdir);
use MIME::Base64 qw(decode_base64);

my $TOLERANCE = 5 * 60;

# What stands before the 32 bytes of an Ed25519 public key in DER.
my $ED25519 = pack 'H*', '302a300506032b6570032100';

# Returns nothing if any of the keys made any of the signatures; else says why not.
sub verify {
    my ($keys, $id, $timestamp, $signatures, $body) = @_;
    return 'sent at another time: replayed, or a clock is wrong'
        if $timestamp !~ /\A[0-9]+\z/ || abs(time - $timestamp) > $TOLERANCE;
    my $signed = "$id.$timestamp.$body";
    for my $text (split / /, $signatures) {
        my ($version, $encoded) = split /,/, $text, 2;
        my $signature = decode_base64($encoded // '');
        return if grep { made_by($_, $version, $signature, $signed) } @$keys;
    }
    return 'no signature fits';
}

sub made_by {
    my ($key, $version, $signature, $signed) = @_;
    my ($kind, $encoded) = split /_/, $key, 2;
    my $raw = decode_base64($encoded);
    return same(hmac_sha256($signed, $raw), $signature) if $kind eq 'whsec' && $version eq 'v1';
    return ed25519($raw, $signature, $signed) if $kind eq 'whpk' && $version eq 'v1a';
    return 0;
}

# Takes as long wherever the two differ.
sub same {
    my ($one, $other) = @_;
    return 0 if length $one != length $other;
    my $difference = 0;
    $difference |= ord(substr $one, $_, 1) ^ ord(substr $other, $_, 1) for 0 .. length($one) - 1;
    return $difference == 0;
}

sub ed25519 {
    my ($raw, $signature, $signed) = @_;
    my $folder = tempdir(CLEANUP => 1);
    my %content = (key => $ED25519 . $raw, signature => $signature, signed => $signed);
    for my $name (keys %content) {
        open my $file, '>:raw', "$folder/$name" or die "cannot write $folder/$name: $!\n";
        print {$file} $content{$name};
        close $file or die "cannot write $folder/$name: $!\n";
    }
    my @command = (qw(openssl pkeyutl -verify -pubin -keyform DER -rawin), '-inkey', "$folder/key");
    push @command, '-sigfile', "$folder/signature", '-in', "$folder/signed";
    open my $answer, '-|', @command or die "cannot run openssl: $!\n";
    my @said = <$answer>;
    return close $answer;
}

unless (caller) {
    my ($id, $timestamp, $signatures, @keys) = @ARGV;
    binmode STDIN;
    my $body = do { local $/; <STDIN> };
    my $why = verify(\@keys, $id, $timestamp, $signatures, $body // '');
    die "refused: $why\n" if defined $why;
    print "genuine\n";
}

1;
