"""Questions about the bundled handbook, written by hand for this course by somebody who had read it, before anything
was retrieved from it. `python -m shared.samples.write_handbook_questions` makes handbook_questions.jsonl of them.

    ## the section they are about: no section is in both parts
    kind question
    = an answer; another line where another wording is as right
    @ page and quote: where the answer stands, word for word; several lines: any of them, of `multi` all of them

Kinds: plain; paraphrase (asked in other words than the handbook has); list and table (it stands in one); multi (it
takes two pages); none (the handbook does not say: near misses, and what it is not about).
"""

VAL = """
## 2.1
plain To which address do I write to subscribe to debian-devel?
= debian-devel-REQUEST@lists.debian.org
@ 13 Send the word subscribe in the Subject of an email to debian-devel-REQUEST@lists.debian.org

paraphrase Which mailbox names sound so unspecific that I had better not take one of them?
= mail, admin, root, master
@ 13 Terms like mail, admin, root, master should be avoided

## 2.3
plain What is the preferred length of an OpenPGP key?
= 4096 bits
= 4096
@ 14 Your key length must be greater than 2048 bits (4096 bits is preferred)

paraphrase Who has to vouch for me before I am let in as a member?
= an existing Debian Developer
= an advocate
= an existing Debian Developer (an advocate)
@ 15 you need an existing Debian Developer to support your application (an advocate)

multi Which program is Debian's baseline for OpenPGP, and who puts my key on the key servers if it is not there yet?
= GNU Privacy Guard; the New Maintainer Group
= gnupg; New Maintainer Group
@ 14 Debian uses the GNU Privacy Guard (package gnupg version 2 or better) as its baseline standard
@ 15 The New Maintainer Group will put your public key on the servers if it isn't already there

## 3.1.3
plain After how many weeks without a fix should I say something in the report of an RC bug?
= 2 weeks
= 2
@ 18 If, for any reason, you aren't able fix an RC bug in a package of yours within 2 weeks

plain Which severities make a bug release-critical?
= critical, grave and serious
= critical, grave or serious
= critical, grave, serious
@ 18 All bug reports that have severity critical, grave or serious make the package unsuitable
@ 67 currently, these are critical, grave and serious bugs

## 3.1.4
plain Which service keeps bug states in step with an upstream bug tracker?
= bts-link
= the bts-link service
@ 18 the bts-link service can help with synchronizing states between the upstream bug tracker and the Debian one

## 3.2.1
paraphrase Where do I keep my own contact details current once I belong to the project?
= https://db.debian.org/
= a LDAP database
= LDAP database at https://db.debian.org/
@ 19 There's a LDAP database containing information about Debian developers at https://db.debian.org/

## 3.2.3
plain On which mailing list is a proposal discussed before a vote?
= debian-vote@lists.debian.org
= debian-vote
@ 19 Each proposal is first discussed on the debian-vote@lists.debian.org mailing list

paraphrase How often is the head of the project chosen?
= yearly
= every year
= once a year
@ 19 Other than the yearly leader election, votes are not routinely held

## 3.2.6
multi I retired as emeritus and want to come back: whom do I mail, and what process do I go through?
= nm@debian.org; a shortened NM process
= nm@debian.org, shortened NM process
@ 20 Mail nm@debian.org for further instructions
@ 21 Go through a shortened NM process

plain What must a retired developer do whose account is marked as removed?
= go through full NM again
= full NM
@ 21 need to go through full NM again

## 4.1.3
plain On which host can I read the archive of debian-private?
= master.debian.org
@ 24 you can see them using your shell account on master.debian.org

## 4.1.4
paraphrase Four of us want to discuss our work by mail. Is there something smaller than a whole board of our own?
= an alias
= alias
= a .forward-aliasname file
@ 24 please consider if using an alias (via a .forward-aliasname file on master.debian.org

## 4.4.1
plain Where should I describe my plans before I run statistics over Debian's bugs?
= debian-devel@lists.debian.org
= debian-devel
@ 25 Please describe your plans on debian-devel@lists.debian.org before implementing anything

## 4.4.3
plain Against which pseudo-package do I report a problem with Debian's web server?
= www.debian.org
@ 26 you should generally submit a bug against the pseudo-package www.debian.org

## 4.4.6
plain How do I become a member of the Debian organization on GitHub?
= open an issue in the Debian/.github meta repository
= open an issue in Debian/.github
@ 26 To request membership, open an issue in the Debian/.github meta repository

## 4.4.7
plain Which command gets me into a chroot with unstable on a Debian machine?
= dchroot unstable
@ 27 vore$ dchroot unstable

## 4.5
plain Which Unix service also shows a part of the developers database?
= finger
= the finger service
@ 27 Part of this information is also available through the finger service on Debian servers

list What can I tell the developers database about where I live, so that I am on the map?
= the latitude and longitude of the place where you live
= latitude and longitude
= address, country, the latitude and longitude
@ 27 the latitude and longitude of the place where you live for use in the world map of Debian developers

## 4.6.1
paraphrase Which parts can somebody press on discs and sell without trouble with lawyers?
= main and contrib
= only the main and contrib sections
= the main and contrib sections
@ 29 by distributing only the main and contrib sections, one can avoid any legal risks

plain Where are packages placed that do not conform to the DFSG?
= in the non-free or non-free-firmware sections
= non-free or non-free-firmware
= the non-free or non-free-firmware sections
@ 29 Packages which do not conform to the DFSG are placed in the non-free or non-free-firmware sections

## 4.6.3
list What does a source package in format 1.0 have besides the .dsc file?
= either a .tar.gz file or both an .orig.tar.gz and a .diff.gz file
= a .tar.gz file or both an .orig.tar.gz and a .diff.gz file
@ 30 it has either a .tar.gz file or both an .orig.tar.gz and a .diff.gz file

## 4.6.4.3
multi What is the experimental distribution meant to be, and what happens there to a package that goes into unstable with a higher version?
= a temporary staging area for highly experimental software; it is removed
= a temporary staging area; periodically removed
@ 31 it is meant to be a temporary staging area for highly experimental software
@ 32 the experimental packages are periodically removed once you upload the package in unstable with a higher version number

## 4.7
paraphrase Who operates the copies of the download site around the world?
= third parties
= third parties who are interested in helping Debian
@ 33 mirrors are generally run by third parties who are interested in helping Debian

## 4.10
plain What is the address of the package tracker's web interface?
= https://tracker.debian.org/
@ 34 The package tracker has a web interface at https://tracker.debian.org/

multi How many clicks does a subscription on the package tracker take, and what of its mails does its documentation explain?
= a single click; how to filter the mails that it forwards
= a single click; how to filter the mails
@ 34 you can subscribe and unsubscribe from any package with a single click
@ 35 how to filter the mails that it forwards

## 4.11
paraphrase Where do I see all that I am in charge of in one overview?
= https://qa.debian.org/developer.php
@ 35 A QA (quality assurance) web portal is available at https://qa.debian.org/developer.php

## 4.12
plain When was Alioth turned off?
= June 2018
= in June 2018
@ 35 Until Alioth was deprecated and eventually turned off in June 2018

## 5.2
plain Where is the changelog of a native package installed?
= /usr/share/doc/package/changelog.gz
@ 38 or /usr/share/doc/package/changelog.gz for native packages

## 5.4
plain Which option always includes the original source tar file in an upload?
= -sa
@ 39 This behavior may be modified by using -sa to always include it or -sd to always leave it out

## 5.5.2
list Which package is an example of data that must be updated in a timely manner in stable?
= tzdata
@ 41 The package in question is a data package and the data must be updated in a timely manner (e.g. tzdata)

## 5.6.3
plain For how many days at most can an upload be delayed?
= 15
= 15 days
@ 42 upload-directory DELAYED/X-day (X between 0 and 15)

multi Which parameter of dput delays an upload, and can the maintainer cancel an upload that waits?
= --delayed; the maintainer cannot cancel the upload themselves
= --delayed DELAY; no
@ 42 you can use the --delayed DELAY parameter to put the package into one of the queues
@ 60 the maintainer cannot cancel the upload themselves

## 5.6.6
plain On which IRC channel are new uploads announced?
= #debian-devel-changes
@ 43 new uploads are announced on the IRC channels channel #debian-devel-changes

paraphrase I sent something to the archive and heard nothing at all. What went wrong, perhaps?
= your package is improperly signed
= it could be that your package is improperly signed
= improperly signed
@ 43 If your upload fails silently, it could be that your package is improperly signed

## 5.7
paraphrase Does what I write into the control file decide where my stuff is filed?
= just hints
= no, the values are actually just hints
= no
@ 43 The values in the debian/control file are actually just hints

plain In which file do the archive maintainers keep the canonical sections and priorities?
= the override file
= override file
@ 43 The archive maintainers keep track of the canonical sections and priorities for packages in the override file

## 5.8.2
plain What does FTBFS mean?
= Fails to build from source
@ 44 If you get a bug which mentions FTBFS, this means Fails to build from source

paraphrase What is so bad about shutting a ticket with a command to the control robot?
= the original submitter will not receive any information about why the bug was closed
= the original submitter will not receive any information
@ 44 the original submitter will not receive any information about why the bug was closed

## 5.8.5.3
list Which version numbers belong into a security advisory?
= of affected packages and of fixed packages
= affected packages, fixed packages
= Version numbers of affected packages
= Version numbers of fixed packages
@ 48 Version numbers of affected packages
@ 48 Version numbers of fixed packages

## 5.9.1
plain My package moves from non-free to main. What must I include in the upload, even with the same upstream version?
= .orig.tar.{gz,bz2,xz}
= the .orig.tar.{gz,bz2,xz}
@ 50 You must ensure that you include the .orig.tar.{gz,bz2,xz} in your upload

## 5.9.4
plain Who becomes the maintainer of a package that is orphaned?
= Debian QA Group <packages@qa.debian.org>
= Debian QA Group
= the Debian QA Group
@ 52 You should set the package maintainer to Debian QA Group <packages@qa.debian.org>

plain What is RFA short for?
= Request For Adoption
@ 52 RFA stands for Request For Adoption

## 5.9.6
paraphrase An old program was thrown out and I would like it back in. Which problem reports should I go through?
= all the closed bugs
= all the closed bugs (including archived bugs)
@ 53 You should look through all the closed bugs (including archived bugs)

## 5.10.2.2
plain How many days must a porter wait before a source NMU to unstable?
= seven days
= seven
= 7 days
@ 56 is seven days for porters working on the unstable distribution

## 5.10.5
list What do I add to debian/control so that a non-free package is auto-built?
= XS-Autobuild: yes
@ 58 Add XS-Autobuild: yes into the header part of debian/control

## 5.11.3
plain How do I cancel my upload to the DELAYED queue?
= using dcut
= dcut
= with dcut
@ 60 You can cancel your upload using dcut

## 5.13
plain In which field are co-maintainers usually listed?
= Uploaders
= the Uploaders field
= Uploaders field of the debian/control file
@ 63 Co-maintainers are all the other maintainers, usually listed in the Uploaders field of the debian/control file

## 5.14.2.1
table In the first example of an out of date package, which version does arm have in unstable?
= 2
@ 65 unstable | 1 | 2

table In the example where ftp-master removes the package on arm, which version has alpha in unstable?
= 2
@ 65 unstable | 2 | - | 1

table In that first out-of-date example, what is in testing on alpha?
= 1
@ 65 testing | 1 | -

plain Why does hurd-i386 not matter for whether a package is out of date?
= it's not a release architecture
= not a release architecture
@ 65 the extra hurd-i386 doesn't matter, as it's not a release architecture

## 6.1.2
paraphrase What is the best thing to juggle a pile of modifications to somebody's code with?
= quilt
@ 72 quilt is the recommended tool for this

## 6.2.2
plain Which articles should a synopsis not begin with?
= "a", "an", or "the"
= a, an, or the
= any initial indefinite or definite article
@ 73 It should also omit any initial indefinite or definite article

## 6.3.2
plain What urgency should most uploads to unstable have?
= urgency=medium
= medium
@ 76 they expect most uploads to unstable to use urgency=medium

plain How many days does an upload of low urgency take to get into testing?
= 10 days
= 10
@ 76 The delays are currently 2, 5 or 10 days, depending on the urgency (high, medium or low)

## 6.6.2.3
multi Which package is msguntypot in, and what is removed at the end, when it has cleaned the translations?
= po4a; templates.pot.orig po_fridge
= po4a; templates.pot.orig and po_fridge
@ 80 you can use msguntypot (part of the po4a package)
@ 81 rm -rf templates.pot.orig po_fridge

## 6.6.3.2
plain How long should the short description of a debconf template be?
= 50 characters or so
= 50 characters
@ 83 The short description should be kept short (50 characters or so)

paraphrase How tall may the explanation get before people stop reading it?
= 20 lines
@ 83 20 lines are by experience a border you shouldn't cross

## 6.8.3
plain In which format does policy want documentation to be shipped?
= HTML format
= HTML
= in HTML format
@ 87 Policy specifies that documentation should be shipped in HTML format

## 6.8.4
list In which file is the policy for OCaml packages?
= /usr/share/doc/ocaml/ocaml_packaging_policy.gz
@ 87 found in /usr/share/doc/ocaml/ocaml_packaging_policy.gz from the ocaml package

## 6.8.7
plain What should the short description of a transition package contain?
= transitional dummy package
@ 88 please make sure to add transitional dummy package to the short description

## 7.1
plain As which user should I not submit bugs?
= root
= as root
@ 93 Do not submit bugs as root

## 7.1.1.1
plain Which character is not allowed in a usertag?
= underscores
= underscore
@ 94 tags are separated by spaces and cannot contain underscores

## 7.3
paraphrase How do I write to whoever looks after a program without searching for a name?
= package@packages.debian.org
@ 95 there is a simple email alias, package@packages.debian.org

## 7.5.1.2
paraphrase Somebody asks me to send in their next revision. With which command do I mostly see what is different?
= debdiff
@ 99 The main tool you will use is debdiff

## 8.3
plain What severity may a bug report with a translation have at most?
= wishlist
= 'wishlist'
@ 103 to not use a severity higher than 'wishlist'

## 9.2.5
paraphrase What shows me where two disk images differ, deep inside?
= diffoscope
@ 107 diffoscope will try to get to the bottom of what makes files or directories different
@ 107 diffoscope provides in-depth comparison of files, archives, and directories
@ 107 nowadays it can compare two tarballs, ISO images, or PDF just as easily

## 9.2.6
paraphrase Is there something that finds dead links in my packaging?
= duck
= duck, the Debian Url ChecKer
@ 107 duck, the Debian Url ChecKer

## 9.6.2
list Which mail readers is reportbug integrated with?
= mutt and mh/nmh
= mutt and mh/nmh mail readers
@ 111 Integration with mutt and mh/nmh mail readers

## 9.6.5
plain Which tool converts RPM packages?
= alien
@ 111 alien converts binary packages between various packaging formats

## none
none How many people are in the security team?
none What is the password of the user "debian" in the request tracker?
none How much does membership in Debian cost a year?
none On which day was Debian 13 released?
none Who is the Debian project leader at the moment?
none How do I install Debian on a Raspberry Pi?
none What is the largest file that may be uploaded to the archive?
none How many developers must take part for a general resolution to be valid?
none How do I make sbuild use btrfs snapshots?
none Under which licence is lintian published?
none How do I reset my forgotten password for Salsa?
none What are the opening hours of the NM front desk?
none What is the phone number of the DSA team?
none Which version of debhelper brought compatibility level 13?
none Which company hosts the servers of Salsa?
none Which shell do new accounts on master.debian.org get by default?
none How many bugs are open in the bug tracking system today?
none How do I turn a Debian source package into a Flatpak?
none How many packages does Ubuntu have?
none How long does an application manager take for one applicant, on average?
none Which editor did the authors write this reference in?
none What is a good recipe for sourdough bread?
none Who won the football world cup in 2014?
none How fast is light, in kilometres per second?
"""  # noqa: E501

TEST = """
## 1
paraphrase Is this book binding law for everyone who takes part?
= this document is not an expression of formal policy
= not an expression of formal policy
= no
@ 11 this document is not an expression of formal policy
@ 11 Thus, it is not what is called a normative document

plain Where do I find the standards that Debian software must comply with?
= the Debian Policy Manual
= in the Debian Policy Manual
@ 11 All of such information can be found in the Debian Policy Manual

## 2.2
plain Which mailing list was set up for novice maintainers who need help with packaging?
= debian-mentors@lists.debian.org
= debian-mentors
@ 14 The mailing list debian-mentors@lists.debian.org has been set up for novice maintainers

## 3.1.1, 3.1.2
paraphrase Something is broken in the version that everybody has installed. Whose permission do I need to repair it there?
= the stable release team
= stable release team
@ 17 You can ask the stable release team whether they would accept such an update

## 3.2.2
plain How often is the Debian key ring updated at least?
= at least once a month
= once a month
@ 19 Updates are processed at least once a month by the debian-keyring package maintainers

paraphrase What should I print out and lock away in case my secret file gets lost?
= revocation certificate
= your revocation certificate
@ 19 Generate and make a copy (best also in paper form) of your revocation certificate

## 3.2.4
plain What do I prepend to the subject when I announce my vacation?
= [VAC]
= VAC
@ 20 with [VAC] prepended to the subject of your message

## 3.2.5
list I leave Debian. Where do I write to get removed from a @debian.org alias?
= admin@rt.debian.org
@ 20 Just send an e-mail to admin@rt.debian.org

list Under which link do I request emeritus status?
= https://nm.debian.org/process/emeritus
@ 20 Use the link https://nm.debian.org/process/emeritus

## 4.1.1
paraphrase If I answer somebody there, does my mail go to that person, too?
= please do not send a carbon copy (CC) to the original poster unless they explicitly request to be copied
= do not send a carbon copy (CC) to the original poster
= no
@ 23 please do not send a carbon copy (CC) to the original poster

## 4.1.2
list Which mailing list is for non-technical issues of the project?
= debian-project@lists.debian.org
= debian-project
@ 23 debian-project@lists.debian.org, used to discuss various non-technical issues

## 4.2
plain Which IRC channel is for coordinating bug squashing parties?
= #debian-bugs
@ 24 #debian-bugs is used for coordinating bug squashing parties

paraphrase How crowded is the chat room of the people who build the system?
= a minimum of 150 people
= a minimum of 150 people at any time of day
= 150 people
@ 24 it will typically have a minimum of 150 people at any time of day

## 4.4
plain Which address of the DSA team takes private or privileged information?
= dsa@debian.org
@ 25 use dsa@debian.org for anything that contains private or privileged information

## 4.4.4
paraphrase Into which folder do I drop things so that they appear on my personal site?
= public_html
= the public_html directory
@ 26 by putting material in the public_html directory under your home directory on people.debian.org

## 4.6
plain How many source packages does Debian have, about?
= around 30000
= 30000
= currently around 30000 source packages
@ 27 currently around 30000 source packages

## 4.6.2
plain Which architectures did Debian 2.0 ship for?
= i386 and m68k
= i386 and m68k architectures
@ 30 Debian 2.0 shipped for i386 and m68k architectures

## 4.6.2, 4.6.5
multi How is Debian 9 called, and how many Linux architectures does it support?
= stretch; ten
= stretch, ten
@ 32 Debian 9 is called stretch
@ 30 Debian 9 supports a total of ten Linux architectures

## 4.6.4.1
plain How often is the update to testing launched?
= twice each day
= twice a day
@ 31 The update to testing is launched twice each day
@ 64 The scripts that update the testing distribution are run twice each day

paraphrase Where do the contents of ancient versions of the system end up?
= archive.debian.org
@ 31 On archiving, the contents are moved to archive.debian.org

## 4.6.5
plain What is the code name of Debian 13?
= trixie
@ 32 Debian 12, will be called bookworm and Debian 13 will be called trixie

paraphrase Why does the official history begin with one point one instead of one point nought?
= a CD-ROM vendor built a Debian 1.0 CD-ROM based on a pre-1.0 development version
@ 32 a CD-ROM vendor built a Debian 1.0 CD-ROM based on a pre-1.0 development version

## 4.8
plain How often does dak process-upload scan the unchecked directory?
= every 15 minutes
= 15 minutes
@ 33 it is scanned every 15 minutes by the dak process-upload script

paraphrase How frequently do files that were let in land where everybody can download them?
= four times a day
@ 33 This happens four times a day (and is also called the dinstall run for historical reasons)

## 4.9.2
table Which version of evince does dak ls show for testing?
= 3.38.2-1
@ 34 evince | 3.38.2-1 | testing |

table According to the dak ls listing, which evince is in buildd-experimental?
= 40.4-1
@ 34 evince | 40.4-1 | buildd-experimental

table What is the version number of evince in oldstable?
= 3.22.1-3+deb9u2
@ 34 evince | 3.22.1-3+deb9u2 | oldstable |

table In the example of available package versions, what does stable have of evince?
= 3.30.2-3+deb10u1
@ 34 evince | 3.30.2-3+deb10u1 | stable |

## 5.1
plain What severity must the bug report have that announces a new package?
= wishlist
@ 37 The severity of the bug report must be set to wishlist

paraphrase How do I make sure that nobody is working on the same program already?
= check the Work-Needing and Prospective Packages (WNPP) list
= the Work-Needing and Prospective Packages (WNPP) list
= checking the WNPP list
@ 37 you should first check the Work-Needing and Prospective Packages (WNPP) list
@ 37 Checking the WNPP list ensures that no one is already working on packaging that software

## 5.3
plain With which letter do the errors of lintian begin?
= E
@ 38 Normally, a package should not be uploaded if it causes lintian to emit errors (they will start with E)

list Which tool tests installing, upgrading and removal, if I don't want to do it by hand?
= piuparts
= the piuparts tool
@ 38 can either be tested manually or by using the piuparts tool
@ 106 piuparts is the .deb package installation, upgrading, and removal testing tool

## 5.5
plain Can I upload one package into several distributions at once?
= It is not possible to upload a package into several distributions at the same time
= not possible
= no
@ 39 It is not possible to upload a package into several distributions at the same time

## 5.5.1
list Which severity should a bug have that I want to fix in stable?
= "important" or higher
= important or higher
@ 40 The bug should be of severity "important" or higher

list Against which environment must an update for stable be built?
= an stable environment or chroot
= stable environment or chroot
= a stable environment
@ 40 The update must be built in an stable environment or chroot

## 5.6.1, 5.6.2
multi What must the first upload of a new source package include, and which file is transferred last?
= binary packages; the changes file
= binary packages, changes file
@ 41 The first upload of a new source package (see New packages) must include binary packages
@ 42 you should transfer the changes file last

## 5.6.2
plain Into which directory on ftp.upload.debian.org do uploads go?
= /pub/UploadQueue/
@ 42 with anonymous ftp to ftp.upload.debian.org in the directory /pub/UploadQueue/

## 5.6.5
paraphrase I sit in Paris and sending my files takes ages. Is there a nearer server?
= ftp://ftp.eu.upload.debian.org/pub/UploadQueue/
= an alternative upload queue in Europe at ftp://ftp.eu.upload.debian.org/pub/UploadQueue/
@ 43 There is an alternative upload queue in Europe at ftp://ftp.eu.upload.debian.org/pub/UploadQueue/

## 5.8.1
plain On which page do I see the open bugs against all my packages?
= https://bugs.debian.org/yourlogin@debian.org
@ 44 You can check them by browsing this page: https://bugs.debian.org/yourlogin@debian.org

## 5.8.3
list Which tag does a bug get that I can't reproduce?
= unreproducible
@ 45 if you can't reproduce the bug, you tag it unreproducible

paraphrase A complaint is justified, but somebody else's software is to blame. What do I do with it?
= reassign the bug to the right package
= just reassign the bug to the right package
@ 45 If the bug is real but it's caused by another package, just reassign the bug to the right package

multi Which command puts two reports of the same problem together, and which tag says that the fix comes with the next upload?
= merge; pending
= the merge command; pending
@ 45 should be merged into one using the merge command of the BTS
@ 46 you may tag the bug as pending to let people know that the bug is corrected

## 5.8.4
plain How do I reopen a bug that was closed by mistake?
= send a reopen XXX command to the bug tracking system's control address
= send a reopen XXX command to control@bugs.debian.org
= reopen XXX
@ 46 send a reopen XXX command to the bug tracking system's control address, control@bugs.debian.org

## 5.8.5
plain Where do I report a security-related bug?
= team@security.debian.org
= the security team by emailing team@security.debian.org
@ 47 promptly contact the security team by emailing team@security.debian.org

## 5.8.5.2
paraphrase Somebody begged me to keep quiet about a hole. When may it be told all the same?
= the problem has been known for a while, or the problem or exploit has become public
@ 48 the problem has been known for a while, or the problem or exploit has become public

## 5.8.5.4
multi What must a security fix for stable never change in a library, and which distribution does its changelog target?
= the API or ABI; codename-security
= API or ABI, codename-security
@ 48 make sure you never change the API (Application Program Interface) or ABI (Application Binary Interface)
@ 49 Target the right distribution in your debian/changelog: codename-security (e.g. bullseye-security)

## 5.9.2
plain What does ROM in the title of a removal bug mean?
= Request Of Maintainer
@ 51 by prepending ROM (Request Of Maintainer)

paraphrase May I have somebody else's software thrown out?
= you have to get the approval of its maintainer
= with the approval of its maintainer
@ 51 If you want to remove another package, you have to get the approval of its maintainer

## 5.9.5
multi What is taking over a package without its maintainer's assent called, and where are complaints about maintainers brought up?
= package hijacking; on the developers' mailing list
= package hijacking; the developers' mailing list
@ 52 that would be package hijacking
@ 53 Complaints about maintainers should be brought up on the developers' mailing list

## 5.10.1
list Which files under debian/ should not be shipped in a source package?
= debian/files or debian/substvars
= debian/files and debian/substvars
@ 54 Make sure you don't ship your source package with the debian/files or debian/substvars files

## 5.10.2.1
plain My package has version 2.9-3. Which one does a binary-only NMU get?
= 2.9-3+b1
@ 55 your binary-only NMU should carry a version of 2.9-3+b1

## 5.10.3.3
plain How do I reach the wanna-build team?
= debian-wb-team@lists.debian.org
@ 57 can be reached at debian-wb-team@lists.debian.org

paraphrase Which program really compiles things on the build farm?
= sbuild
@ 57 The tool used to do the actual package builds, sbuild, is available as a package

## 5.11.1
list Which delay is recommended for an upload that fixes only release-critical and important bugs?
= 5 days
= 5
@ 59 Upload fixing only release-critical and important bugs: 5 days

multi Which script helps to send the patch of an NMU, and how many days of delay do other NMUs get?
= nmudiff; 10 days
= the nmudiff script; 10 days
@ 58 The nmudiff script in the devscripts package might be helpful
@ 59 Other NMUs: 10 days

## 5.11.2
plain Which version does an NMU of the native package 1.5 get?
= 1.5+nmu1
@ 59 if the current version is 1.5, then an NMU would get version 1.5+nmu1

## 5.11.4
paraphrase A stranger put out a corrected edition of my work. Should I be cross?
= Receiving an NMU on a package is not a bad thing
= this means they want to help you to keep it in good shape
= no
@ 60 Receiving an NMU on a package is not a bad thing
@ 60 When someone NMUs your package, this means they want to help you to keep it in good shape

## 5.11.6
plain What are uploads of orphaned packages called?
= QA uploads
@ 61 QA uploads are uploads of orphaned packages

## 5.12
plain What should the title of a bug begin with that says I want to salvage a package?
= ITS: package-name
= ITS:
= ITS
@ 62 the title of the bug should start with ITS: package-name

multi Within how many days can a salvage be objected to, and what can the maintainer do while the upload waits in the DELAYED queue?
= 21 days; accept the salvaging, do an upload themselves or cancel the upload
= 21 days; accept the salvaging, do an upload themselves or (ask to) cancel the upload
@ 62 may object publicly in response to the bug you've filed within 21 days
@ 63 the maintainer can accept the salvaging, do an upload themselves or (ask to) cancel the upload

## 5.14.2
plain What are the scripts called that update the testing distribution?
= britney
@ 64 these scripts are called britney

## 5.14.2.3
table In the example of circular dependencies, what does the version of a in unstable depend on?
= b=2
@ 65 a | 1; depends: b=1 | 2; depends: b=2

table And in the same example, what does b in testing depend on?
= a=1
@ 65 b | 1; depends: a=1 | 2; depends: a=2

## 5.14.3
multi What is usually appended to the version for testing-proposed-updates, and whom do I ask to approve it after the builds?
= +debXuY; the release team
= +debXuY; debian-release@lists.debian.org
@ 66 Version numbers are usually selected by appending +debXuY
@ 67 contact the release team at debian-release@lists.debian.org and ask them to approve your upload

## 5.15
paraphrase If I bring newer software to people who stay on the released system, for how long do I commit myself?
= about 3 years
= for the duration of the stable suite
= 3 years
@ 68 which can be expected to be about 3 years from its initial release

plain What must a package have reached before I upload it to stable-backports?
= the testing distribution
= the testing archive
= testing
@ 68 until the matching version has already reached the testing archive
@ 68 Once a package reaches the testing distribution, it is possible for anyone with upload rights in Debian

## 6.1.1
plain Which debhelper command installs and compresses man pages?
= dh_installman
@ 71 dh_installman installs and compresses man pages

## 6.2.1
paraphrase Whom should I have in mind when I write the text that tells what my program is?
= the average likely user
= the average likely user, the average person who will use and benefit from the package
@ 73 The package description should be written for the average likely user

## 6.2.3
plain Which spell-checkers have a mode for debian/control?
= ispell and aspell
= Both ispell and aspell
@ 74 Both ispell and aspell have special modes for checking debian/control files

## 6.2.5
plain What defines a common layout for Debian packages in version control?
= DEP-14
@ 75 DEP-14 defines a common layout for Debian packages

## 6.3.5
multi What is left off in NEWS.Debian compared with a changelog, and as which file is it installed?
= the asterisks; /usr/share/doc/package/NEWS.Debian.gz
= asterisks, /usr/share/doc/package/NEWS.Debian.gz
@ 77 leave off the asterisks and describe each news item with a full paragraph
@ 78 The NEWS.Debian file is installed as /usr/share/doc/package/NEWS.Debian.gz

## 6.5
paraphrase What if my install hook runs two times by accident?
= nothing bad will happen
= you need to make sure nothing bad will happen
= Maintainer scripts must be idempotent
@ 78 you need to make sure nothing bad will happen if the script is called twice where it would usually be called once
@ 78 Maintainer scripts must be idempotent

## 6.6.2.2
plain Below how many days is a deadline for translators unreasonable?
= 10 days
= lower than 10 days
= 10
@ 80 a delay lower than 10 days is considered as unreasonable

## 6.6.3.1
plain In what colour does the dialog front end of cdebconf draw the screen of an error?
= red
= a red screen
@ 83 the dialog front end of cdebconf draws a red screen instead of the usual blue one

## 6.6.4
list What punctuation is recommended at the end of a string template's prompt?
= colons
= the use of colons
@ 84 The use of colons is recommended

## 6.7.1
paraphrase What do people use nowadays to get the questions of an installer into other languages?
= po-debconf
= the po-debconf package
@ 86 the best way to accomplish debconf internationalization is by using the po-debconf package

## 6.8.5
paraphrase My sounds and icons are huge. How do I avoid storing them ten times over?
= splitting it out into a separate, architecture-independent package
= a separate, architecture-independent package
@ 88 consider splitting it out into a separate, architecture-independent package (_all.deb)

## 6.8.8.2
multi In which file is it documented how an upstream tarball was repackaged, and with what is it compressed?
= debian/copyright; xz (or gzip or bzip) with maximal compression
= debian/copyright; xz
@ 89 should be provided in debian/copyright, ideally in a way that can be done automatically with uscan
@ 90 should be compressed with xz (or gzip or bzip) with maximal compression

## 6.8.9
multi What do the names of automatic and of manual debug packages end in?
= -dbgsym and -dbg
= -dbgsym; -dbg
@ 90 The package name for a automatic generated debug symbol package ends in -dbgsym
@ 91 The name of a manual debug packages ends in -dbg

## 7.1.1
plain From how many bugs on one topic should I announce it before I submit them?
= more than 10
= 10
= more than 10 bugs
@ 94 If you report more than 10 bugs on the same topic at once

## 7.2.2
plain Into which DELAYED queue do people upload during a bug squashing party?
= DELAYED/3-day
@ 95 they can NMU without prior notice if they upload their NMU to DELAYED/3-day at least

## 7.4
multi After how long may one send a reminder to a silent maintainer, and when can one assume that no response will come?
= two weeks; four weeks
= two weeks; four weeks (a month)
@ 95 send a reminder after two weeks
@ 96 If the maintainer doesn't reply within four weeks (a month)

## 7.5.1
plain Can Debian Maintainers sponsor packages?
= Debian Maintainers can't
= no
@ 97 Debian Maintainers can't

list Which program checks the licences when I review a package?
= licensecheck
@ 98 Run licensecheck (part of devscripts)

## 7.5.2
plain From which package must dcut be, to grant upload permissions to DMs?
= dput-ng
= the dput-ng package
@ 99 This process can be simplified with the help of the dcut command from the dput-ng package

## 8
plain Why is internationalization abbreviated i18n?
= because there are 18 letters between the 'i' and the 'n' in internationalization
= there are 18 letters between the 'i' and the 'n'
@ 101 abbreviated i18n because there are 18 letters between the 'i' and the 'n' in internationalization

## 8.2
paraphrase Our manual in French is three years behind. Shall I throw it out?
= Avoid removing a translation completely because it is outdated
= Old documentation is often better than no documentation at all for non-English speakers
= no
@ 102 Avoid removing a translation completely because it is outdated
@ 102 Old documentation is often better than no documentation at all for non-English speakers

## 9.1.3
paraphrase How can I make a .deb without being the superuser?
= fakeroot
= If you have fakeroot installed, dpkg-buildpackage will use it automatically
@ 106 fakeroot simulates root privileges

## 9.2.2
plain How many common lintian issues can lintian-brush fix?
= more than 80
= 80
@ 106 can automatically fix more than 80 common lintian issues in Debian packages

## 9.6.4
paraphrase A program vanished from the servers, but I still run it. How do I get a .deb of it again?
= dpkg-repack
@ 111 dpkg-repack creates a Debian package file out of a package that has already been installed
@ 111 to recreate packages that are installed on your system but no longer available elsewhere

## 9.8.6
paraphrase What reminds me of small jobs for volunteers whenever I install something?
= how-can-i-help
@ 113 how-can-i-help shows opportunities for contributing to Debian

## none
none How many members does the technical committee have?
none What is the number of the latest version of the Debian Policy Manual?
none What will be the code name of Debian 14?
none How do I get money back for my journey to DebConf?
none How many gigabytes does a full mirror of the archive need?
none What is the fingerprint of the security team's key?
none How many days does a package wait in the NEW queue on average?
none How much memory does the ftp-master server have?
none What is the key of the channel #debian-private?
none How many translators are in the French team?
none Which priority of questions does debconf show by default?
none How do I write a systemd unit for my daemon?
none Which hardening flags does blhc look for?
none How do I sign a package with a smart card?
none How large may an attachment to a bug report be?
none Who founded Debian, and in which year?
none How old must one be to become a Debian Developer?
none Does Debian support RISC-V?
none How do I make my library package multiarch?
none How do I write an autopkgtest for my package?
none What is the wording of the first point of the Debian Social Contract?
none How do I upgrade a server from Debian 10 to Debian 11?
none What salary do the members of the release team get?
none How many votes were cast in the last leader election?
none Which backup program runs on people.debian.org?
none Which compression level does dpkg-deb use for binary packages?
none Why doesn't my Wi-Fi card work under Debian?
none What is the capital of Australia?
none How do I train a convolutional network in PyTorch?
none How high is Mount Everest?
none How do I cancel my train ticket?
none When should apple trees be pruned?
"""  # noqa: E501
