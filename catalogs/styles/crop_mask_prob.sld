<?xml version="1.0" encoding="UTF-8"?>
<StyledLayerDescriptor xmlns="http://www.opengis.net/sld" version="1.0.0">
  <NamedLayer>
    <Name>crop_mask_prob</Name>
    <UserStyle>
      <Name>crop_mask_prob</Name>
      <Title>Crop probability</Title>
      <FeatureTypeStyle>
        <Rule>
          <RasterSymbolizer>
            <Opacity>1.0</Opacity>
            <ColorMap type="ramp">
              <ColorMapEntry color="#000000" quantity="0" opacity="1" label="0" />
              <ColorMapEntry color="#170B3B" quantity="10" opacity="1" label="10" />
              <ColorMapEntry color="#410967" quantity="20" opacity="1" label="20" />
              <ColorMapEntry color="#6B176E" quantity="30" opacity="1" label="30" />
              <ColorMapEntry color="#952666" quantity="40" opacity="1" label="40" />
              <ColorMapEntry color="#BB3754" quantity="50" opacity="1" label="50" />
              <ColorMapEntry color="#DD5238" quantity="60" opacity="1" label="60" />
              <ColorMapEntry color="#F37719" quantity="70" opacity="1" label="70" />
              <ColorMapEntry color="#FBA60B" quantity="80" opacity="1" label="80" />
              <ColorMapEntry color="#F5D948" quantity="90" opacity="1" label="90" />
              <ColorMapEntry color="#FCFEA4" quantity="100" opacity="1" label="100" />
            </ColorMap>
          </RasterSymbolizer>
        </Rule>
      </FeatureTypeStyle>
    </UserStyle>
  </NamedLayer>
</StyledLayerDescriptor>
