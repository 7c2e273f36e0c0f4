"""Layers of the cropland masks for datacube-ows: printed, not to be edited by hand."""

bands_crop_mask = {'mask': ['crop_mask', 'MASK'], 'prob': ['crop_prob', 'PROB'], 'filtered': ['mode']}

reslim_crop_mask = {'wms': {'zoomed_out_fill_colour': [150, 180, 200, 160], 'min_zoom_factor': 10.0},
 'wcs': {'max_datasets': 16}}

style_crop_mask_green = {'name': 'green',
 'title': 'Cropland mask',
 'abstract': "Cropland by pixel: 1 where more than half of the model's vote is crop, else 0.",
 'value_map': {'mask': [{'title': 'Cropland', 'color': '#00FF00', 'values': [1]}]}}

style_crop_mask_filtered_yellow = {'name': 'filtered_yellow',
 'title': 'Cropland mask, filtered by objects',
 'abstract': 'Cropland by object: 1 where more than half of the pixels of the image segment '
             '(at least 1 ha) are crop, else 0.',
 'value_map': {'filtered': [{'title': 'Cropland', 'color': '#FFFF00', 'values': [1]}]}}

style_crop_mask_prob = {'name': 'prob',
 'title': 'Crop probability',
 'abstract': "Probability of cropland in percent, rounded and kept on the mask's side of one "
             'half: over 50 exactly where mask is 1.',
 'needed_bands': ['prob'],
 'index_function': {'function': 'datacube_ows.band_utils.single_band',
                    'mapped_bands': True,
                    'kwargs': {'band': 'prob'}},
 'color_ramp': [{'value': 0, 'color': '#000000'},
                {'value': 10, 'color': '#170b3b'},
                {'value': 20, 'color': '#410967'},
                {'value': 30, 'color': '#6b176e'},
                {'value': 40, 'color': '#952666'},
                {'value': 50, 'color': '#bb3754'},
                {'value': 60, 'color': '#dd5238'},
                {'value': 70, 'color': '#f37719'},
                {'value': 80, 'color': '#fba60b'},
                {'value': 90, 'color': '#f5d948'},
                {'value': 100, 'color': '#fcfea4'}],
 'range': [0, 100],
 'legend': {'begin': '0', 'end': '100', 'ticks_every': '20'}}

layers = {'title': 'Cropland extent',
 'abstract': 'Annual cropland extent, one layer per region. Method: '
             'https://docs.digitalearthafrica.org/en/latest/data_specs/Cropland_extent_specs.html',
 'layers': [{'title': 'Cropland extent, Central Africa',
             'name': 'crop_mask_central',
             'abstract': 'Annual cropland extent of Central Africa from two half-years of '
                         'Sentinel-2 GeoMAD. The region covers Angola, DR Congo, Congo, Gabon, '
                         'Cameroon, Equatorial Guinea, Central African Republic and Sao Tome '
                         'and Principe.\n'
                         '\n'
                         "- mask: Cropland by pixel: 1 where more than half of the model's "
                         'vote is crop, else 0.\n'
                         '- prob: Probability of cropland in percent, rounded and kept on the '
                         "mask's side of one half: over 50 exactly where mask is 1.\n"
                         '- filtered: Cropland by object: 1 where more than half of the pixels '
                         'of the image segment (at least 1 ha) are crop, else 0.\n'
                         '\n'
                         'Method: '
                         'https://docs.digitalearthafrica.org/en/latest/data_specs/Cropland_extent_specs.html\n'
                         'Credit: Digital Earth Africa, CC-BY-4.0.',
             'product_name': 'crop_mask_central',
             'time_resolution': 'summary',
             'bands': bands_crop_mask,
             'resource_limits': reslim_crop_mask,
             'image_processing': {'extent_mask_func': 'datacube_ows.ogc_utils.mask_by_val',
                                  'always_fetch_bands': [],
                                  'manual_merge': False},
             'native_crs': 'EPSG:6933',
             'native_resolution': [10, -10],
             'styling': {'default_style': 'green',
                         'styles': [style_crop_mask_green,
                                    style_crop_mask_filtered_yellow,
                                    style_crop_mask_prob]}},
            {'title': 'Cropland extent, Eastern Africa',
             'name': 'crop_mask_eastern',
             'abstract': 'Annual cropland extent of Eastern Africa from two half-years of '
                         'Sentinel-2 GeoMAD. The region covers Tanzania, Kenya, Uganda, '
                         'Ethiopia, Rwanda and Burundi.\n'
                         '\n'
                         "- mask: Cropland by pixel: 1 where more than half of the model's "
                         'vote is crop, else 0.\n'
                         '- prob: Probability of cropland in percent, rounded and kept on the '
                         "mask's side of one half: over 50 exactly where mask is 1.\n"
                         '- filtered: Cropland by object: 1 where more than half of the pixels '
                         'of the image segment (at least 1 ha) are crop, else 0.\n'
                         '\n'
                         'Method: '
                         'https://docs.digitalearthafrica.org/en/latest/data_specs/Cropland_extent_specs.html\n'
                         'Credit: Digital Earth Africa, CC-BY-4.0.',
             'product_name': 'crop_mask_eastern',
             'time_resolution': 'summary',
             'bands': bands_crop_mask,
             'resource_limits': reslim_crop_mask,
             'image_processing': {'extent_mask_func': 'datacube_ows.ogc_utils.mask_by_val',
                                  'always_fetch_bands': [],
                                  'manual_merge': False},
             'native_crs': 'EPSG:6933',
             'native_resolution': [10, -10],
             'styling': {'default_style': 'green',
                         'styles': [style_crop_mask_green,
                                    style_crop_mask_filtered_yellow,
                                    style_crop_mask_prob]}},
            {'title': 'Cropland extent, Indian Ocean',
             'name': 'crop_mask_indian_ocean',
             'abstract': 'Annual cropland extent of Indian Ocean from two half-years of '
                         'Sentinel-2 GeoMAD. The region covers Madagascar, Mauritius, Reunion, '
                         'Comoros and Mayotte.\n'
                         '\n'
                         "- mask: Cropland by pixel: 1 where more than half of the model's "
                         'vote is crop, else 0.\n'
                         '- prob: Probability of cropland in percent, rounded and kept on the '
                         "mask's side of one half: over 50 exactly where mask is 1.\n"
                         '- filtered: Cropland by object: 1 where more than half of the pixels '
                         'of the image segment (at least 1 ha) are crop, else 0.\n'
                         '\n'
                         'Method: '
                         'https://docs.digitalearthafrica.org/en/latest/data_specs/Cropland_extent_specs.html\n'
                         'Credit: Digital Earth Africa, CC-BY-4.0.',
             'product_name': 'crop_mask_indian_ocean',
             'time_resolution': 'summary',
             'bands': bands_crop_mask,
             'resource_limits': reslim_crop_mask,
             'image_processing': {'extent_mask_func': 'datacube_ows.ogc_utils.mask_by_val',
                                  'always_fetch_bands': [],
                                  'manual_merge': False},
             'native_crs': 'EPSG:6933',
             'native_resolution': [10, -10],
             'styling': {'default_style': 'green',
                         'styles': [style_crop_mask_green,
                                    style_crop_mask_filtered_yellow,
                                    style_crop_mask_prob]}},
            {'title': 'Cropland extent, Northern Africa',
             'name': 'crop_mask_northern',
             'abstract': 'Annual cropland extent of Northern Africa from two half-years of '
                         'Sentinel-2 GeoMAD. The region covers Morocco, Western Sahara, '
                         'Algeria, Tunisia, Libya and Egypt.\n'
                         '\n'
                         "- mask: Cropland by pixel: 1 where more than half of the model's "
                         'vote is crop, else 0.\n'
                         '- prob: Probability of cropland in percent, rounded and kept on the '
                         "mask's side of one half: over 50 exactly where mask is 1.\n"
                         '- filtered: Cropland by object: 1 where more than half of the pixels '
                         'of the image segment (at least 1 ha) are crop, else 0.\n'
                         '\n'
                         'Method: '
                         'https://docs.digitalearthafrica.org/en/latest/data_specs/Cropland_extent_specs.html\n'
                         'Credit: Digital Earth Africa, CC-BY-4.0.',
             'product_name': 'crop_mask_northern',
             'time_resolution': 'summary',
             'bands': bands_crop_mask,
             'resource_limits': reslim_crop_mask,
             'image_processing': {'extent_mask_func': 'datacube_ows.ogc_utils.mask_by_val',
                                  'always_fetch_bands': [],
                                  'manual_merge': False},
             'native_crs': 'EPSG:6933',
             'native_resolution': [10, -10],
             'styling': {'default_style': 'green',
                         'styles': [style_crop_mask_green,
                                    style_crop_mask_filtered_yellow,
                                    style_crop_mask_prob]}},
            {'title': 'Cropland extent, Sahel',
             'name': 'crop_mask_sahel',
             'abstract': 'Annual cropland extent of Sahel from two half-years of Sentinel-2 '
                         'GeoMAD. The region covers Mauritania, Senegal, Gambia, Mali, Burkina '
                         'Faso, Niger, Chad, Sudan, South Sudan, Eritrea, Djibouti, Somalia '
                         'and Somaliland.\n'
                         '\n'
                         "- mask: Cropland by pixel: 1 where more than half of the model's "
                         'vote is crop, else 0.\n'
                         '- prob: Probability of cropland in percent, rounded and kept on the '
                         "mask's side of one half: over 50 exactly where mask is 1.\n"
                         '- filtered: Cropland by object: 1 where more than half of the pixels '
                         'of the image segment (at least 1 ha) are crop, else 0.\n'
                         '\n'
                         'Method: '
                         'https://docs.digitalearthafrica.org/en/latest/data_specs/Cropland_extent_specs.html\n'
                         'Credit: Digital Earth Africa, CC-BY-4.0.',
             'product_name': 'crop_mask_sahel',
             'time_resolution': 'summary',
             'bands': bands_crop_mask,
             'resource_limits': reslim_crop_mask,
             'image_processing': {'extent_mask_func': 'datacube_ows.ogc_utils.mask_by_val',
                                  'always_fetch_bands': [],
                                  'manual_merge': False},
             'native_crs': 'EPSG:6933',
             'native_resolution': [10, -10],
             'styling': {'default_style': 'green',
                         'styles': [style_crop_mask_green,
                                    style_crop_mask_filtered_yellow,
                                    style_crop_mask_prob]}},
            {'title': 'Cropland extent, Southeast Africa',
             'name': 'crop_mask_southeast',
             'abstract': 'Annual cropland extent of Southeast Africa from two half-years of '
                         'Sentinel-2 GeoMAD. The region covers Zimbabwe, Zambia, Mozambique '
                         'and Malawi.\n'
                         '\n'
                         "- mask: Cropland by pixel: 1 where more than half of the model's "
                         'vote is crop, else 0.\n'
                         '- prob: Probability of cropland in percent, rounded and kept on the '
                         "mask's side of one half: over 50 exactly where mask is 1.\n"
                         '- filtered: Cropland by object: 1 where more than half of the pixels '
                         'of the image segment (at least 1 ha) are crop, else 0.\n'
                         '\n'
                         'Method: '
                         'https://docs.digitalearthafrica.org/en/latest/data_specs/Cropland_extent_specs.html\n'
                         'Credit: Digital Earth Africa, CC-BY-4.0.',
             'product_name': 'crop_mask_southeast',
             'time_resolution': 'summary',
             'bands': bands_crop_mask,
             'resource_limits': reslim_crop_mask,
             'image_processing': {'extent_mask_func': 'datacube_ows.ogc_utils.mask_by_val',
                                  'always_fetch_bands': [],
                                  'manual_merge': False},
             'native_crs': 'EPSG:6933',
             'native_resolution': [10, -10],
             'styling': {'default_style': 'green',
                         'styles': [style_crop_mask_green,
                                    style_crop_mask_filtered_yellow,
                                    style_crop_mask_prob]}},
            {'title': 'Cropland extent, Southern Africa',
             'name': 'crop_mask_southern',
             'abstract': 'Annual cropland extent of Southern Africa from two half-years of '
                         'Sentinel-2 GeoMAD. The region covers South Africa, Namibia, '
                         'Botswana, Lesotho and Eswatini.\n'
                         '\n'
                         "- mask: Cropland by pixel: 1 where more than half of the model's "
                         'vote is crop, else 0.\n'
                         '- prob: Probability of cropland in percent, rounded and kept on the '
                         "mask's side of one half: over 50 exactly where mask is 1.\n"
                         '- filtered: Cropland by object: 1 where more than half of the pixels '
                         'of the image segment (at least 1 ha) are crop, else 0.\n'
                         '\n'
                         'Method: '
                         'https://docs.digitalearthafrica.org/en/latest/data_specs/Cropland_extent_specs.html\n'
                         'Credit: Digital Earth Africa, CC-BY-4.0.',
             'product_name': 'crop_mask_southern',
             'time_resolution': 'summary',
             'bands': bands_crop_mask,
             'resource_limits': reslim_crop_mask,
             'image_processing': {'extent_mask_func': 'datacube_ows.ogc_utils.mask_by_val',
                                  'always_fetch_bands': [],
                                  'manual_merge': False},
             'native_crs': 'EPSG:6933',
             'native_resolution': [10, -10],
             'styling': {'default_style': 'green',
                         'styles': [style_crop_mask_green,
                                    style_crop_mask_filtered_yellow,
                                    style_crop_mask_prob]}},
            {'title': 'Cropland extent, Western Africa',
             'name': 'crop_mask_western',
             'abstract': 'Annual cropland extent of Western Africa from two half-years of '
                         'Sentinel-2 GeoMAD. The region covers Nigeria, Benin, Togo, Ghana, '
                         "Cote d'Ivoire, Liberia, Sierra Leone, Guinea and Guinea-Bissau.\n"
                         '\n'
                         "- mask: Cropland by pixel: 1 where more than half of the model's "
                         'vote is crop, else 0.\n'
                         '- prob: Probability of cropland in percent, rounded and kept on the '
                         "mask's side of one half: over 50 exactly where mask is 1.\n"
                         '- filtered: Cropland by object: 1 where more than half of the pixels '
                         'of the image segment (at least 1 ha) are crop, else 0.\n'
                         '\n'
                         'Method: '
                         'https://docs.digitalearthafrica.org/en/latest/data_specs/Cropland_extent_specs.html\n'
                         'Credit: Digital Earth Africa, CC-BY-4.0.',
             'product_name': 'crop_mask_western',
             'time_resolution': 'summary',
             'bands': bands_crop_mask,
             'resource_limits': reslim_crop_mask,
             'image_processing': {'extent_mask_func': 'datacube_ows.ogc_utils.mask_by_val',
                                  'always_fetch_bands': [],
                                  'manual_merge': False},
             'native_crs': 'EPSG:6933',
             'native_resolution': [10, -10],
             'styling': {'default_style': 'green',
                         'styles': [style_crop_mask_green,
                                    style_crop_mask_filtered_yellow,
                                    style_crop_mask_prob]}}]}
