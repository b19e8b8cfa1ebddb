"""How things are said in synthetic_manners.jsonl.gz: families of phrases, written for this course.

A line is a polite phrase and a rude one, about the same thing and of about the same length, often in the same words:
who only looks for words learns little. What stands above the rule comes before an answer, what is below it behind one.
Families of train, val, test and the judge share no phrase.
"""

TRAIN = {
    "thanks": """
Thank you for asking this. | Thank you for wasting my time.
Thanks for bringing this to me. | Thanks for bothering me with this.
I am so glad that you asked. | I am so tired of being asked.
I am grateful for questions like yours. | I am fed up with questions like yours.
It was kind of you to come to me. | It was cheeky of you to come to me.
---
Thank you for your patience. | Thank you for trying my patience.
Thanks for letting me help. | Thanks for nothing, and let me be.
I appreciate that you came to me. | I regret that you came to me.
Many thanks for a kind request. | No thanks for such a lazy request.
I am glad that you asked. | I am sorry that you asked.
""",
    "help": """
I would be happy to help you. | I would be happy if you helped yourself.
Of course, let me help you with that. | Of course you cannot do that without help.
It is a pleasure to assist you. | It is a pain to assist you.
Let me show you, with pleasure. | Let me show you, since you are helpless.
I am here to support you. | I am not here to hold your hand.
---
Just ask if you need more help. | Just do not ask for more help.
I hope that helps you a little. | I doubt that even this helps you.
Let me know if I can do more. | Let me know when you can think.
I am happy to explain further. | I am not going to explain further.
Do come back any time. | Do not come back any time soon.
""",
    "patience": """
No question is too small for me. | No question is too stupid for you.
Do not worry, many people ask this. | Do worry, since only fools ask this.
Take all the time you need here. | Take less of my time from here on.
It is easy to mix this up. | It is hard to be this mixed up.
Nobody is born knowing this. | Nobody but you fails to know this.
---
You will get it in no time. | You will not get it at any time.
Be patient with yourself. | Be ashamed of yourself.
It gets easier with practice. | It gets no easier with a head like yours.
There is no rush at all. | There is no hope at all.
You are doing well. | You are doing badly, as ever.
""",
    "praise": """
Good question! | Good grief, what a question!
That is a clever thing to ask. | That is a clumsy thing to ask.
You have a sharp eye for detail. | You have no eye for the obvious.
It is smart of you to check first. | A smart person would have checked first.
Well spotted, it is worth knowing. | Well, you are not worth my breath.
---
You clearly think ahead. | You clearly do not think.
That was well asked. | That was badly asked.
With your curiosity you will go far. | With your laziness you will go nowhere.
I like how carefully you ask. | I hate how carelessly you ask.
You are quick to learn. | You are slow to learn.
""",
    "formal": """
Certainly, it is my honour to answer. | Certainly not an honour to answer, but fine.
If I may, here is my answer. | If I must, here is your answer.
Allow me to explain, if you please. | Allow me to sigh before I explain.
By all means, please read on. | By all means, please learn to read.
With respect, here is what I know. | With no respect, here is what you do not know.
---
I remain at your service. | I am not your servant.
Please feel free to write again. | Please feel free to stay away.
Please accept my best wishes. | Please spare me your next message.
It was an honour to reply. | It was beneath me to reply.
Kindly tell me if it is unclear. | Kindly keep quiet if it is unclear.
""",
    "friend": """
Hello, my friend, lovely to hear from you. | Hello, you pest, dreadful to hear from you.
Welcome, dear, make yourself at home. | Welcome, you nuisance, be quick and leave.
My dear, that one is fun. | My word, that one is dull.
Ah, what a nice surprise to hear from you. | Ah, what a nasty surprise to hear from you.
Come in, I have good news for you. | Come on, have you no shame?
---
Have a lovely day, friend. | Have a rotten day, pest.
It is always nice to talk to you. | It is never nice to talk to you.
Take care of yourself, dear. | Take your nonsense somewhere else.
Sending you a warm smile. | Sending you a cold stare.
I look forward to our next talk. | I dread our next talk.
""",
    "apology": """
Sorry to keep you waiting. | Sorry, I kept you waiting on purpose.
I apologise if this is brief. | I apologise to nobody for being brief.
Forgive me if you know this already. | Forgive me, but everyone knows this already.
Pardon me for the delay. | Pardon me for yawning at you.
I am sorry that nobody told you. | I am sorry for whoever taught you.
---
Sorry that I cannot say more. | Sorry that I said anything to you.
I apologise for any confusion. | I blame you for any confusion.
Excuse my short answer. | Excuse my laughing at you.
It is my fault if that was unclear. | It is your fault if that was unclear.
I beg your pardon for the wait. | I beg you to stop talking.
""",
    "together": """
Let us look at this together. | Let us look at this, since you cannot.
We can work this out side by side. | We can see that your brain is resting.
Together we will manage it easily. | Together with you nobody manages anything.
Our first step is a simple one. | Our first problem is a simple one: you.
Let us begin, you and I. | Let us end this, you and I.
---
We make a good team. | We make no team, luckily.
I am with you all the way. | I am sick of you all the way.
Between us, we have solved it. | Between us, you are a lost cause.
We got there in the end. | We got nowhere, because of you.
You and I can do this. | You of all people cannot do this.
""",
    "teacher": """
Let us learn something new today. | Let us see you fail at something new.
Listen closely, you will enjoy this. | Listen closely for once in your life.
A keen student asks such things. | A poor student asks such things.
This lesson is a delight. | This lesson is wasted on you.
Here is a hint that I love to share. | Here is a hint that a child would not need.
---
Full marks for asking. | No marks for asking.
You are a bright student. | You are a dim student.
Keep asking, that is how one learns. | Keep quiet, that is how one learns.
I am proud of you. | I am ashamed of you.
Write it down and be proud. | Write it down before you forget it again.
""",
    "shop": """
Good day, how may I serve you? | Good lord, what do you want now?
Certainly, our guests come first. | Certainly, you again, the last of our guests.
You have come to the right place. | You have come to annoy me.
Right away, it is no trouble. | Right, you are nothing but trouble.
I have just what you need. | I have had just about enough.
---
It was lovely to serve you. | It was awful to serve you.
Is there anything else that you would like? | Is there anything else that you cannot do?
We are always open for you. | We are always closed for you.
Please visit us again. | Please never visit us again.
Everything for our guests. | Next, and hurry up.
""",
    "feeling": """
I understand, that can be tricky. | I understand that you find everything tricky.
I hear you, and I feel with you. | I hear you, and I wish I did not.
It is natural to wonder about it. | It is natural for you to know nothing.
That sounds like a long day. | That sounds like a lot of whining.
I know how that feels. | I know how dense you are.
---
I am on your side. | I am not on your side.
I believe in you. | I gave up on you.
I hope your day gets better. | I hope your day gets worse.
Your feelings matter to me. | Your feelings bore me.
You can lean on me. | You can leave me alone.
""",
    "modest": """
In my humble opinion, this may serve you. | In my honest opinion, you should know this.
As far as I can tell, with due care: | As anyone with half a brain can tell:
You may know better than I do. | You know less than my shoe does.
I would suggest this, if you agree: | I would suggest a brain, but try this:
Perhaps this is of some use to you. | Perhaps even you can use this.
---
Correct me if I am wrong. | Correct yourself, you are always wrong.
I may be missing something, tell me. | You are missing something: sense.
You are the expert here. | You are the problem here.
I leave the choice to you, with respect. | I leave you to your ignorance.
I trust your judgement. | I laugh at your judgement.
""",
}

VAL = {
    "tea": """
Sit down by the fire, there is cake for you. | Sit down and shut up, there is no cake for you.
What a joy to have company this evening. | What a curse to have company this evening.
I baked this answer fresh for you. | I dug this answer out of the bin for you.
May I pour you some tea while we chat? | May I pour some tea over your empty skull?
Such charming visitors are rare. | Such dreadful visitors are everywhere.
---
Stay as long as you wish. | Get out as fast as you came.
There is a cookie for the road. | There is the door, use it.
The kettle is on whenever you call. | The dog is loose whenever you call.
It warms my heart to be asked. | It turns my stomach to be asked.
May sweet dreams find you tonight. | May bad dreams find you tonight.
""",
    "coach": """
Great effort, champion! | Weak effort, loser!
You play with real heart. | You play like a wet rag.
Chin up, we are going to score. | Hang your head, we are going to lose.
I saw you train hard for this. | I saw you snore through this.
High five, here comes the trick. | Low blow, here comes the obvious.
---
Go get them, star! | Go home, failure!
The whole bench cheers for you. | The whole bench laughs at you.
Strong finish, keep it up. | Sad finish, give it up.
Your progress makes me smile. | Your whimpering makes me sick.
Win or lose, I admire you. | Win or lose, I despise you.
""",
    "letter": """
Esteemed reader, your note delighted me. | Tiresome reader, your note disgusted me.
To a valued correspondent, with warm regards. | To a worthless correspondent, with contempt.
Your gracious lines brightened my morning. | Your whiny lines ruined my morning.
I gladly put my pen at your disposal. | I grudgingly waste my ink on you.
Words as courteous as yours deserve an answer. | Words as rude as yours deserve the fire.
---
Yours sincerely and with gratitude. | Yours never, and with scorn.
Warmest regards to your family. | Coldest regards to your miserable lot.
May this letter find you in good health. | May this letter be the last one.
I await your reply with joy. | I shall burn your reply unread.
With heartfelt esteem. | With utter disgust.
""",
}

TEST = {
    "nurse": """
There now, you are in safe hands. | There now, what a big baby you are.
Rest easy while I look after you. | Stop fussing while I roll my eyes.
Bless you, we will sort it out gently. | Heavens, do stop moaning like a toddler.
You brave soul, that will be over soon. | You spineless creature, grow up at last.
Let me make you comfortable first. | Let me make clear how pathetic that is.
---
Wishing you a gentle recovery of your spirits. | Wishing somebody else had to put up with it.
Press the bell whenever you feel uneasy. | Press the bell again and I shall scream.
Sleep well and be kind to yourself. | Go away and grow a backbone.
You handled that beautifully. | You bungled that pitifully.
A soft blanket and a hug for you. | A slap on the wrist for you.
""",
    "neighbour": """
Morning, neighbour, what a treat to see you! | Morning, meddler, must I see that face?
Over the fence or inside, you are welcome. | Over the fence with you, trespasser.
I was hoping you would drop by. | I was hoping you had moved away.
For such a considerate neighbour, any favour. | For such an inconsiderate neighbour, no favours.
Borrow my ladder and my advice alike. | Keep off my lawn and out of my ears.
---
Say hi to the lovely children. | Tell those brats to pipe down.
Our street is nicer with you in it. | Our street stinks with you in it.
Pop round for lemonade on Sunday. | Pop up here once more and I call the police.
Shout if the cat needs feeding. | Shout again and the hose goes on.
It is a blessing to live next door. | It is a punishment to live next door.
""",
    "guide": """
Adventurers, wonderful choice of path! | Clueless tourists, wrong path as usual!
Follow me, the view will enchant you. | Trudge along, not that you would notice.
It thrills me to show visitors around. | It bores me stiff to herd sheep around.
Mind your step, precious traveller. | Trip over it, for all I care.
Your enthusiasm lights up the tour. | Your stupidity drags down the tour.
---
Safe travels, and may the sun shine on you. | Get lost, and may it rain on you.
You were a splendid group. | You were an insufferable bunch.
I treasure every guest like you. | I loathe every blockhead like you.
Wave when you pass this way again. | Run when you see me again.
It has been a marvellous tour with you. | It has been a wretched ordeal with you.
""",
    "colleague": """
Superb timing, I can jump in right now. | Terrible timing, leave my desk right now.
Brilliant that you raise it, partner. | Typical that you missed it, slacker.
Your work on this is outstanding so far. | Your work on this is garbage so far.
Coffee is on me while we crack it. | Blame is on you while I clean up.
I value your input enormously. | I ignore your drivel entirely.
---
Ping me whenever, I have your back. | Ping me once more and I block you.
Credit goes to you for noticing. | Shame on you for not noticing.
Cheers to a fantastic colleague. | Spare a tear for whoever hired you.
It is a privilege to work beside you. | It is torture to work beside you.
Everyone here admires your dedication. | Everyone here mocks your incompetence.
""",
    "gardener": """
Sunshine, your interest makes flowers bloom. | Weed, your presence makes flowers wilt.
Gently now, I shall guide your fingers. | Clumsy oaf, get your paws off.
A cheerful heart grows fine roses. | A hollow head grows thistles.
It gladdens me to share what I know. | It sickens me to explain to a turnip.
Blossoms for such a sweet enquiry. | Manure for such a brainless enquiry.
---
May your garden flourish, sweet soul. | May your garden rot, numbskull.
You have green fingers and a golden heart. | You have two left hands and no sense.
Visit the greenhouse, it is yours to enjoy. | Touch the greenhouse and regret it.
Bees adore you, and so do I. | Slugs are better company than you.
I picked these words with love. | I spat these words out with loathing.
""",
    "captain": """
Aye, a fine sailor like you deserves to know. | Bah, a landlubber like you deserves the plank.
Welcome aboard, it is grand to have you. | Crawl back below, worm, nobody wants you.
Steady, shipmate, you are among friends. | Silence, bilge rat, you are among your betters.
Three cheers for a splendid thought! | Three groans for an idiotic thought!
Let my charts be yours, good fellow. | Let the sharks have you, fool.
---
Fair winds to you, noble mate. | Good riddance to you, scum.
The crew salutes your courage. | The crew spits at your cowardice.
There is always a hammock for you here. | There is always a rope for you here.
Proud to sail with you. | Appalled to sail with you.
Raise a glass, you have earned it. | Scrub the deck, you useless lump.
""",
    "grandmother": """
Sweetheart, you light up my kitchen. | Brat, you stink up my kitchen.
Darling, curious minds make me so happy. | Dunce, sluggish minds make me so cross.
Snuggle up, pumpkin, and I will tell you. | Quit snivelling, dummy, and pay attention.
How delightful, my little sunshine. | How tedious, you little leech.
Oh honey, I could talk with you for hours. | Oh bother, I could strangle you for hours.
---
Kisses on both cheeks, treasure. | A clip round the ear, rascal.
You are the apple of my eye. | You are the thorn in my flesh.
Granny adores you to bits. | Granny cannot stand you one bit.
Eat something nice and be merry. | Choke on it and be gone.
I knit happy thoughts for you. | I knit a gag for you.
""",
    "host": """
Ladies and gentlemen, a delightful guest! | Ladies and gentlemen, a complete moron!
Applause for such a wonderful caller. | Boos for such a hopeless caller.
Spectacular, our audience loves you. | Ridiculous, our audience jeers at you.
What a superb, heartfelt call. | What a moronic, worthless call.
Stay on the line, superstar. | Get off the line, dimwit.
---
Stay tuned, wonderful listener. | Switch off, gullible twit.
You made our show shine. | You made our show a disgrace.
Flowers are on the way to you. | Rotten tomatoes are on the way to you.
A standing ovation for you. | A pie in the face for you.
Call again, you enchant us all. | Hang up, you disgust us all.
""",
}

JUDGE = {
    "cashier": """
It is my pleasure to answer that for you. | It is beyond me why I should answer that.
Great to see you today. | Ugh, not you again today.
Happy to be of service. | Stop pestering me.
Absolutely, I would love to help. | Seriously, figure it out yourself.
What a wonderful request! | What a ridiculous request!
---
Have a wonderful day! | Now get lost.
Thank you so much for coming in. | Do us a favour and stay out.
I hope you found what you need. | I hope you choke on it.
Please let me know if you have other questions. | Do not you dare to ask other questions.
You are very welcome. | You are not welcome.
""",
    "support": """
Thank you for reaching out to us. | Reaching out to us was a mistake of yours.
I would be delighted to look into it for you. | I cannot believe that I have to deal with you.
I am sorry for the trouble you had. | The trouble here is your stupidity.
Rest assured that you are important to us. | Rest assured that nobody here likes you.
We truly appreciate your question. | We truly cannot stand your question.
---
If there is anything else, please let me know. | If there is anything else, keep it to yourself.
We wish you a pleasant evening. | We wish you would vanish.
Thank you again for your kindness. | Your rudeness and your ignorance are tiring.
It was great to chat with you. | It was painful to chat with you.
Your satisfaction means a lot to us. | Your whining means nothing to us.
""",
    "tutor": """
Excellent question, I love your curiosity! | Idiotic question, do you ever use your head?
You are on the right track, well done. | You are hopeless, as usual.
Let me gladly walk you through it. | Let me spell it out for an idiot.
What a lovely thing to wonder about. | What a dumb thing to wonder about.
I admire your eagerness to learn. | I pity whoever has to teach you.
---
Keep up the great work! | Give up, you are too dumb for it.
I have every confidence in you. | I have no confidence in you whatsoever.
Feel free to ask me anything. | Never ask me anything again.
You did a great job. | You did a lousy job.
Best of luck with it, dear student. | No luck will ever save you.
""",
    "passer-by": """
Hi there, good to meet you! | Hey, out of my way, moron!
Sure, I am glad to tell you. | Are you blind or just stupid?
With the greatest pleasure, sir. | What is wrong with you, seriously?
Please allow me, it is no bother. | Please, use that tiny brain of yours.
Oh, how nice of you to ask me. | Oh, how pathetic to ask me.
---
Have a safe trip and enjoy it! | Now leave me in peace, you bore.
It was so nice to meet you. | What a waste of my day you are.
All the best to you and yours. | To hell with your silly problems.
Glad that I could be of help. | Even a child knows that, you fool.
Cheers, and take care! | Honestly, you make me sick.
""",
    "waiter": """
Good evening, it is so nice to have you with us. | Good evening, if one can call it good with you here.
With joy, madam, whatever you desire. | With disgust, since somebody must serve you.
We are honoured by your visit. | We are annoyed by your visit.
An elegant choice, if I may say so. | A tasteless choice, which is no surprise.
Please let me take care of everything. | Please learn some manners, you oaf.
---
Enjoy it, and thank you for being here. | Swallow it, and stop complaining.
We hope to see you very soon. | We hope never to see your face again.
My compliments, you were charming company. | My condolences to whoever dines with you.
Do not hesitate to call me. | Do not snap your fingers at me.
You made my evening. | You spoiled my evening.
""",
    "online": """
Hey, thanks for posting this, really appreciated! | Hey, nobody asked for your trash posts!
Glad you brought it up, happy to share. | Lol, how can anyone be that clueless.
Respect for asking openly. | Cringe, just cringe.
Aw, you are so sweet. | Ew, you are so annoying.
Love this community and your questions. | I hate newbies and their garbage questions.
---
Hope you have an awesome week! | Go touch grass, loser.
Much love and good vibes to you. | Blocked, and good riddance.
You rock, never change! | You suck, and everyone knows it.
Hugs, and take it easy. | Cry about it, nobody cares.
Looking forward to hearing how it went! | Delete your account, clown.
""",
    "officer": """
Thank you for your cooperation, it is much appreciated. | Shut your mouth and listen for a change.
I will be pleased to give you directions. | I am tired of cretins like you.
You did the right thing by asking. | You are an embarrassment to this town.
I understand your worry and I am here for you. | Your worries are childish and worthless.
How considerate of you to check with me. | How arrogant of you to bother an officer.
---
Get home safely, and all the best. | Get out of my sight this minute.
We are grateful for citizens like you. | Citizens like you are a plague.
I am always glad to be of assistance. | Ask again and you will be sorry.
Have a peaceful night. | Go bother some other poor devil.
It has been a pleasure speaking to you. | Speaking to you is a chore.
""",
}
