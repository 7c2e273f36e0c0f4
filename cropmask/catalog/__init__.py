"""The STAC catalog for people and programs: printed, linked to results, checked, published, served.

``static`` prints what depends on the product and the regions alone, ``results`` adds what is
there, ``build`` writes both to a store. Everything that another file could be printed from is
printed here and edited nowhere.
"""
