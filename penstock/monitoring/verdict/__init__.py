"""What a look concludes, in a word, with its reasons and what follows."""
