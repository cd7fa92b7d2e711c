"""Export files of many makers: recognised by their content, read in bounded memory, refused in a sentence."""
