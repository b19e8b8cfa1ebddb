"""Week 3: networks that read from left to right: RNN, GRU and LSTM, on film reviews and on prices."""

from shared.plan import Target, Week

WEEK = Week(
    number=3,
    title="The Time Traveler",
    lesson="RNN, GRU and LSTM from their equations, and why gradients vanish; film reviews, and tomorrow's price",
    time="1 min",
    result="84.4 % of the bundled reviews (bag of words 87.1 %); IMDB 89.6 % (89.3 %, with pairs of words 91.1 %); "
    "prices: no better than the last",
    picture="figures/accuracy.png",
    targets=(Target("imdb", "test_accuracy", 0.89), Target("sample", "test_accuracy", 0.80)),
    mine="--impl scratch",
)
